"""Any websocket client can talk to a worker; a web page of somebody else cannot."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.helpers.clients import ask, client, handshake, serving_port
from tests.helpers.fleet import write_grid
from tests.helpers.ports import shipped_ports
from tests.helpers.proc import DEADLINE, Proc, arduino, verbatim

pytestmark = pytest.mark.fleet

GRID = """\
nodes:
  buzzer: {sketch: buzzer, args: {sound: buzz buzz buzz}}
  bench: {sketch: "bench.py:Bench"}
origins: ["http://lab.example:8000", "https://ok.example"]
"""
BENCH = '''\
import factory


class Bench(factory.FactoryLoop):
    """Answer with every kind of value."""

    @factory.reactive("kinds/{kind}")
    async def kinds(self, channel, msg, kind):
        values = {"text": "text", "bytes": b"\\0\\1", "none": None, "empty": "", "zero": 0}
        values |= {"dict": {"a": [1, 2]}, "true": True, "float": 1.5}
        return values[kind]

    @factory.reactive("size")
    async def size(self, channel, msg):
        return [type(msg).__name__, len(msg)]

    @factory.reactive("typed")
    async def typed(self, channel, msg: int):
        return msg * 2
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    write_grid(folder, GRID)
    (folder / "bench.py").write_text(BENCH, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def buzzer(folder: Path) -> Iterator[Proc]:
    with arduino("buzzer", "--port", "0", cwd=folder) as proc:
        yield proc


@pytest.fixture(scope="module")
def port(buzzer: Proc) -> int:
    return serving_port(buzzer)


@pytest.fixture(scope="module")
def bench(folder: Path) -> Iterator[int]:
    with arduino("bench.py", "--port", "0", cwd=folder) as proc:
        yield serving_port(proc)


def test_the_source_s_buzzer_buzzes_for_1_and_is_quiet_for_0() -> None:
    with shipped_ports(), verbatim("./arduino.py buzzer --port 8766") as buzzer:
        buzzer.wait_for(r"serving on localhost:8766$")
        assert ask(8766, "1", "0", "1", channel="any/channel") == ["buzz buzz buzz", "...", "buzz buzz buzz"]
        buzzer.wait_for(r"^\[ buzzer \] \*\* new client connected, path=/any/channel$")
        buzzer.wait_for(
            r"^\[ buzzer \] done processing messages: client closed the connection \(1000\), after \d+\.\d s$"
        )


def test_a_thousand_messages_get_a_reply_each_in_order(port: int) -> None:
    signals = ["01"[i % 3 == 0] for i in range(1000)]
    with client(port) as websocket:
        for signal in signals:
            websocket.send(signal)
        replies = [websocket.recv(DEADLINE) for _ in signals]
    assert replies == ["buzz buzz buzz" if signal == "1" else "..." for signal in signals]


def test_the_client_of_the_library_s_own_command_line(port: int) -> None:
    command = [sys.executable, "-m", "websockets", f"ws://localhost:{port}/any/channel"]
    with Proc(*command, interactive=True) as cli:
        cli.wait_for("Connected to")
        cli.type("1\n0\n")
        cli.wait_for("< buzz buzz buzz$")
        cli.wait_for(r"< \.\.\.$")


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        ("text", "text"),
        ("bytes", b"\0\1"),
        ("none", "n/a"),
        ("empty", ""),
        ("zero", "0"),
        ("true", "true"),
        ("float", "1.5"),
        ("dict", '{"a":[1,2]}'),
    ],
)
def test_every_kind_of_ack(bench: int, kind: str, reply: str | bytes) -> None:
    assert ask(bench, "x", channel=f"kinds/{kind}") == [reply]


def test_text_and_bytes_arrive_as_they_were_sent(bench: int) -> None:
    assert ask(bench, "größe", b"\xff\x00", "", b"", channel="size") == [
        '["str",5]',
        '["bytes",2]',
        '["str",0]',
        '["bytes",0]',
    ]


def test_a_refusal_names_type_and_reason_and_the_connection_stays(bench: int) -> None:
    replies = ask(bench, "21", "many", "4", channel="typed")
    assert (replies[0], replies[2]) == ("42", "8")
    assert json.loads(replies[1])["error"]["type"] == "PayloadError"
    (reply,) = ask(bench, "x", channel="kinds/unheard")
    assert json.loads(reply)["error"] == {"type": "KeyError", "message": "'unheard'"}


def test_an_unknown_channel_is_refused_with_those_there_are(bench: int) -> None:
    (reply,) = ask(bench, "x", channel="nowhere")
    error = json.loads(reply)["error"]
    assert error["type"] == "UnknownChannelError"
    assert error["message"].startswith("no handler takes channel 'nowhere'; bench takes ")
    for channel in ("kinds/{kind}", "size", "typed"):
        assert repr(channel) in error["message"]


@pytest.mark.parametrize(
    ("path", "channel"),
    [("/", ""), ("/a/b", "a/b"), ("/caf%C3%A9%20bar", "café bar"), ("/x?colour=red&n=1", "x"), ("//y", "/y")],
)
def test_a_path_is_a_channel(buzzer: Proc, port: int, path: str, channel: str) -> None:
    mark = buzzer.mark
    assert handshake(port, path=path)[0] == 101
    assert buzzer.wait_for(r"new client connected, path=/(.*)$", since=mark)[1] == channel


@pytest.mark.parametrize(("path", "status"), [("/$other", 404), ("/%FF", 400)])
def test_a_path_that_is_no_channel(port: int, path: str, status: int) -> None:
    assert handshake(port, path=path)[0] == status


def test_a_message_beyond_16_mib_ends_its_connection_and_no_other(port: int) -> None:
    with client(port) as other, client(port) as websocket:
        with suppress(ConnectionClosed):  # at once, or only when the answer is read
            websocket.send("x" * (16 * 2**20 + 1))
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(DEADLINE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        other.send("1")
        assert other.recv(DEADLINE) == "buzz buzz buzz"


# -- pages of a browser ------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "http://localhost:3000",
        "https://localhost:8443",
        "http://127.0.0.1:5500",
        "http://127.8.9.1",
        "http://[::1]:8080",
        "http://lab.example:8000",
        "https://ok.example",
    ],
)
def test_pages_of_this_machine_and_of_the_grid_come_in(port: int, origin: str) -> None:
    assert handshake(port, origin=origin) == (101, "")


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://evil.example",
        "http://localhost.evil.example",
        "http://lab.example",
        "https://lab.example:8000",
        "http://ok.example",
        "http://evil.example@localhost",
        "file://",
        "",
        "localhost",
    ],
)
def test_all_other_pages_get_403_and_are_told_what_to_do(port: int, origin: str) -> None:
    status, body = handshake(port, origin=[origin])
    assert status == 403
    assert repr(origin) in body
    # What no grid can list needs another page, not another grid.
    cannot = origin in ("", "localhost", "file://") or "@" in origin
    assert ("serve the page over http" if cannot else "under `origins:` in grid.yaml") in body


def test_without_an_origin_one_comes_in(port: int) -> None:
    assert handshake(port)[0] == 101


def test_two_origins_are_one_too_many(port: int) -> None:
    assert handshake(port, origin=["http://localhost", "http://localhost"])[0] == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 101),
        ("LOCALHOST:1", 101),
        ("127.0.0.1:80", 101),
        ("[::1]:8766", 101),
        ("evil.example", 403),
        ("evil.example:8766", 403),
        ("localhost.evil.example", 403),
        ("lab.example", 403),
        ("192.0.2.7", 403),
    ],
)
def test_a_foreign_host_gets_403(port: int, host: str, status: int) -> None:
    assert handshake(port, host=host)[0] == status


def test_who_is_turned_away_is_no_client(buzzer: Proc, port: int) -> None:
    mark = buzzer.mark
    assert handshake(port, origin="https://evil.example", path="/evil")[0] == 403
    assert ask(port, "1", channel="after") == ["buzz buzz buzz"]
    buzzer.wait_for("path=/after$", since=mark)
    assert buzzer.count("path=/evil") == 0
