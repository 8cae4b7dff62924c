"""What a person sees of a message: one line, text or hex, nothing that moves the cursor, no secrets."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.text import printable
from mesh.transport.view import MOST_HEX, MOST_TEXT, masked, view


@pytest.mark.source("D11")
@pytest.mark.parametrize(
    ("message", "seen"),
    [
        ("buzz", "'buzz'"),
        (b"buzz", "'buzz'"),
        (b"", "''"),
        (b"a\tb\r\n", r"'a\tb\r\n'"),
        ("grün ☀", "'grün ☀'"),
        (b"a line that is \x1b[31mred", r"'a line that is \x1b[31mred'"),
        (b"\x90", "90 |.|"),
        (b"\x91\x92\xa2on\x07", "91 92 a2 6f 6e 07 |...on.|"),
        (b"\x00\x01ab", "00 01 61 62 |..ab|"),
        ("\ud800", "ed a0 80 |...|"),
    ],
)
def test_text_is_shown_as_text_and_the_rest_as_hex(message: bytes | str, seen: str) -> None:
    assert view(message) == seen


def test_what_is_long_is_cut_and_says_by_how_much() -> None:
    assert view(b"x" * (MOST_TEXT + 5)) == f"'{'x' * MOST_TEXT}'... (+5 B)"
    assert view(b"\x01" * (MOST_HEX + 1)).endswith("|... (+1 B)")
    # A character that was cut in two is left out, and is no reason for hex.
    assert view("ä" * MOST_TEXT) == f"'{'ä' * (MOST_TEXT // 2)}'... (+{MOST_TEXT} B)"
    assert view("x" + "ä" * MOST_TEXT).startswith("'xä")


@given(st.binary(max_size=400) | st.text(max_size=300))
def test_it_is_always_one_line_that_controls_nothing(message: bytes | str) -> None:
    seen = view(message)
    assert seen == printable(seen)
    assert "\t" not in seen


SECRET = "hunter2"


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "token",
        "secret",
        "key",
        "authorization",
        "api_key",
        "X-Api-Key",
        "access_token",
        "Password",
        "pwd",
        "auth",
        "X-Auth",
        "credentials",
    ],
)
@pytest.mark.parametrize(
    "made",
    [
        lambda name: json.dumps({"a": 1, name: SECRET, "b": "shown"}),
        lambda name: json.dumps({name: f'{SECRET}"{SECRET}', "b": "shown"}),
        lambda name: f"/shown?x=1&{name}={SECRET}&b=shown",
        lambda name: f"GET / HTTP/1.1\r\n{name}: Bearer {SECRET} {SECRET}\r\nB: shown",
        lambda name: msgspec.msgpack.encode({"b": "shown", name: SECRET, "c": [1]}),
        lambda name: msgspec.msgpack.encode({"b": "shown", name: SECRET.encode() * 5}),
        lambda name: msgspec.msgpack.encode([3, "shown", json.dumps({name: SECRET})]),
        lambda name: str({"b": "shown", name: SECRET}),
        lambda name: json.dumps({"b": "shown", name: ["x", SECRET], "c": SECRET}),
        lambda name: json.dumps({"b": "shown", name: {"v": SECRET}, "c": 1}),
        lambda name: json.dumps({"b": "shown", "c": json.dumps({name: SECRET, "d": "shown"})}),
        lambda name: json.dumps([json.dumps(["shown", json.dumps({name: f'{SECRET}"{SECRET}'})])]),
        lambda name: msgspec.msgpack.encode({"b": "shown", name: ["x", SECRET]}),
        lambda name: msgspec.msgpack.encode({"b": "shown", name: {"v": SECRET}, "c": SECRET}),
        lambda name: msgspec.msgpack.encode({"b": "shown", name.encode(): SECRET}),
        lambda name: msgspec.msgpack.encode({"b": "shown", name: msgspec.msgpack.Ext(5, SECRET.encode())}),
        lambda name: str({"b": "shown", name: f"{SECRET} {SECRET}".encode()}),
        lambda name: f"shown: 1\n{name} = {SECRET}\nb = shown",
        lambda name: f"{name} = '{SECRET} {SECRET}' shown",
        lambda name: f"shown:\n  {name}: {SECRET} {SECRET}\n",
    ],
    ids=[
        "json",
        "quoted",
        "query",
        "header",
        "msgpack",
        "bin",
        "json-in-msgpack",
        "repr",
        "json-list",
        "json-object",
        "json-in-json",
        "json-in-json-in-json",
        "msgpack-list",
        "msgpack-map",
        "msgpack-bytes-name",
        "msgpack-extension",
        "repr-bytes",
        "setting",
        "quoted-setting",
        "yaml",
    ],
)
def test_secrets_are_masked(name: str, made: object) -> None:
    seen = view(made(name))  # type: ignore[operator]
    assert SECRET not in seen
    assert SECRET.encode().hex(" ") not in seen
    assert "shown" in seen


@pytest.mark.parametrize(
    "words",
    ["monkey: 3", "keyboard=4", '{"monkey": "shown"}', "the key to it", "author=me", '{"author": [1]}'],
)
def test_what_only_looks_like_a_name_is_shown(words: str) -> None:
    assert view(words) == f"'{words}'"


def test_a_number_is_no_part_of_the_name_before_it() -> None:
    assert view(msgspec.msgpack.encode({"\x00": 1, "token": 0x35})).endswith("token*|")


def test_a_secret_that_is_cut_off_is_masked_as_well() -> None:
    assert SECRET not in view(json.dumps({"password": SECRET * 100}))
    packed = msgspec.msgpack.encode({"password": SECRET * 100})
    assert SECRET.encode()[:4].hex(" ") not in view(packed)
    number = view(msgspec.msgpack.encode({"a": "\x00", "token": 123456789}))
    assert "07 5b cd 15" not in number
    assert view(b"\xa3key") == "a3 6b 65 79 |.key|"


def test_addresses_and_reasons_are_masked_in_one_line() -> None:
    assert masked("/x?token=abc&y=1\n\x1b") == r"/x?token=***&y=1\x0a\x1b"
