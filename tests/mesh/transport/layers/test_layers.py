"""The layers by themselves: bytes in, bytes out, however they were cut; and what is none of theirs."""

from __future__ import annotations

import tracemalloc
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.transport.layers import Layer, LayerError, Len32le, Line, Logging, Zlib, layer_names, register_layer
from mesh.transport.layers import registry as layer_registry
from mesh.transport.layers.registry import cuts_bytes, is_binary, makers
from mesh.transport.tapping import Tap


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return data in pieces."""
    at = sorted({0, len(data), *(place % (len(data) + 1) for place in cuts)})
    return [data[begin:end] for begin, end in pairwise(at)]


def fed(layer: Layer, pieces: list[bytes]) -> list[bytes]:
    return [message for piece in pieces for message in layer.inbound(piece)]


messages = st.lists(st.binary(max_size=300), max_size=10)
places = st.lists(st.integers(0, 5000), max_size=30)


@pytest.mark.source("E18")
@given(messages, places)
def test_lengths_come_back_however_the_bytes_were_cut(sent: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(piece for message in sent for piece in Len32le().outbound(message))
    layer = Len32le()
    assert fed(layer, cut(wire, cuts)) == sent
    assert layer.finish() == []


@given(st.lists(st.binary(max_size=300).map(lambda line: line.replace(b"\n", b"").rstrip(b"\r"))), places)
def test_lines_come_back_however_the_bytes_were_cut(sent: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(piece for message in sent for piece in Line().outbound(message))
    assert fed(Line(), cut(wire, cuts)) == sent


@given(messages)
def test_what_is_compressed_unfolds(sent: list[bytes]) -> None:
    wire = [piece for message in sent for piece in Zlib().outbound(message)]
    assert fed(Zlib(), wire) == sent


def test_the_length_is_little_endian_and_a_large_message_is_not_copied() -> None:
    assert Len32le().outbound(b"abc") == [b"\x03\x00\x00\x00abc"]
    large = bytes(100_000)
    head, body = Len32le().outbound(large)
    assert head == (100_000).to_bytes(4, "little")
    assert body is large


@pytest.mark.source("E18")
def test_a_length_beyond_the_limit_is_an_error_before_a_byte_of_it_came() -> None:
    layer = Len32le(max_size=10)
    with pytest.raises(
        LayerError, match="announced a message of 4294967295 bytes, and len32le takes 10"
    ) as caught:
        layer.inbound(b"\x02\x00\x00\x00ok\xff\xff\xff\xff")
    assert caught.value.messages == [b"ok"]
    with pytest.raises(LayerError, match="11 bytes is longer than the 10"):
        layer.outbound(bytes(11))
    assert Len32le(max_size=10).inbound(b"\x0a\x00\x00\x00" + bytes(10)) == [bytes(10)]


def test_an_unfinished_message_is_reported() -> None:
    layer = Len32le()
    assert layer.inbound(b"\x05\x00\x00\x00abc") == []
    with pytest.raises(LayerError, match="unfinished, 7 bytes of it came"):
        layer.finish()


def test_a_large_message_in_single_bytes_costs_linear_time_and_its_own_memory() -> None:
    layer = Len32le()
    size = 300_000
    wire = size.to_bytes(4, "little") + bytes(size)
    tracemalloc.start()
    got = [message for at in range(len(wire)) for message in layer.inbound(wire[at : at + 1])]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert got == [bytes(size)]
    assert peak < 5 * size


def test_a_bomb_is_not_unfolded() -> None:
    bomb = zlib.compress(bytes(200 * 2**20), 9)
    tracemalloc.start()
    with pytest.raises(LayerError, match=f"of {len(bomb)} bytes unfolds to more than 1048576"):
        Zlib(max_size=2**20).inbound(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20
    assert len(Zlib(max_size=2**20).inbound(zlib.compress(bytes(2**20)))[0]) == 2**20


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"plain text", "cannot be unfolded"),
        (zlib.compress(b"x" * 100)[:-1], "no whole piece"),
        (zlib.compress(b"x") + b"more", "no whole piece"),
        (b"", "no whole piece"),
    ],
)
def test_what_is_no_whole_piece_of_zlib_is_an_error(data: bytes, why: str) -> None:
    with pytest.raises(LayerError, match=why):
        Zlib().inbound(data)


def test_an_answer_ends_as_the_line_that_came() -> None:
    line = Line()
    assert line.outbound(b"hello") == [b"hello\n"]
    assert line.inbound(b"you\r\n") == [b"you"]
    assert line.outbound(b"hello") == [b"hello\r\n"]
    assert Line(b";").outbound(b"a\nb") == [b"a\nb;"]


@pytest.mark.parametrize(
    ("line", "message"),
    [(Line(), b"a\nb"), (Line(b";"), b"a;b"), (Line(b"\r\n"), b"a\nb")],
)
def test_a_message_that_would_be_two_lines_is_not_sent(line: Line, message: bytes) -> None:
    with pytest.raises(LayerError, match="a line break in it"):
        line.outbound(message)


@pytest.mark.source("C17")
def test_a_line_that_is_too_long_is_an_error_and_the_peer_is_told() -> None:
    line = Line(max_line=10)
    with pytest.raises(LayerError, match="a line is longer than 10 bytes") as caught:
        line.inbound(b"one\ntwo\n" + b"x" * 20)
    assert caught.value.messages == [b"one", b"two"]
    (farewell,) = line.farewell(caught.value)
    assert farewell.startswith(b"error: a line is longer than 10 bytes")
    assert b"\n" not in farewell


@pytest.mark.source("C22")
def test_a_last_line_without_an_end_is_reported_or_kept() -> None:
    line = Line()
    assert line.inbound(b"one\ntw") == [b"one"]
    with pytest.raises(LayerError, match="its last line did not end, 2 bytes of it came"):
        line.finish()
    kept = Line(keep_rest=True)
    kept.inbound(b"one\ntw")
    assert kept.finish() == [b"tw"]
    assert Line(keep_rest=True).finish() == []
    assert Line().finish() == []


def test_logging_changes_nothing_and_tells_of_its_place() -> None:
    lines: list[str] = []
    layer = Logging(Tap(lines.append))
    layer.peer = "somebody"
    assert layer.outbound(b"x") == [b"x"]
    assert layer.inbound(b"y") == [b"y"]
    assert "> somebody Sending data: 1 B 'x'" in lines[0]
    assert "< somebody Received data: 1 B 'y'" in lines[1]


def test_layers_are_found_by_name_and_ones_own_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_registry, "_own", {})  # the examples of the documents have their own, too
    assert layer_names() == ["line", "len32le", "zlib", "logging"]
    assert [name for name in layer_names() if cuts_bytes(name)] == ["line", "len32le"]
    assert [name for name in layer_names() if not is_binary(name)] == ["line"]
    with pytest.raises(ValueError, match=r"'zlip' is not known, did you mean 'zlib'\?; there are line"):
        makers(["zlip"])
    register_layer("twice", Zlib)
    assert layer_names()[-1] == "twice"
    assert makers(["twice", Line]) == [Zlib, Line]
