"""``subscribes:`` of an entry: what may be written, what comes of it, and what is said of mistakes."""

from __future__ import annotations

import pytest

from mesh.errors import GridError
from mesh.gridfile import parse_grid
from mesh.node import Wire


def grid(entry: str, *more: str) -> bytes:
    """Return a grid with one entry of interest."""
    return "\n".join(
        ["nodes:", "  blink: {port: 1, aliases: [led]}", "  dark: {sketch: d}", f"  me: {entry}", *more]
    ).encode()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{tick: blink}", [Wire("tick", "blink")]),
        ("{tick: led, pin/13: dark}", [Wire("tick", "blink"), Wire("pin/13", "dark")]),
        ("[{channel: tick, source: led}]", [Wire("tick", "blink")]),
        (
            "[{channel: tick, source: blink, policy: latest}, {channel: t, source: blink, limit: 5}]",
            [Wire("tick", "blink", "latest"), Wire("t", "blink", "drop_oldest", 5)],
        ),
        ("", []),
        ("[]", []),
        ("{}", []),
    ],
)
def test_what_may_be_written(written: str, expected: list[Wire]) -> None:
    me = parse_grid(grid(f"{{port: 2, subscribes: {written}}}")).node("me")
    assert list(me.subscribes) == expected


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            "{port: 2, subscribes: {tick: blnk}}",
            "4:36: source 'blnk' is not in the grid; did you mean 'blink'?",
        ),
        (
            "{port: 2, subscribes: {$tick: blink}}",
            "4:30: channel '$tick' is reserved; names that begin with $",
        ),
        ("{port: 2, subscribes: {tick: me}}", "4:36: me subscribes to me itself; name another node"),
        ("{port: 2, subscribes: 7}", "4:29: `subscribes` is the number 7; write sources by channel"),
        ("{port: 2, subscribes: [tick]}", "4:30: an item of `subscribes` is the text 'tick'; write fields"),
        ("{port: 2, subscribes: [{channel: a}]}", "4:30: `source:` is missing; add the name of one node"),
        (
            "{port: 2, subscribes: [{source: blink}]}",
            "4:30: `channel:` is missing; add the name of a channel",
        ),
        (
            "{port: 2, subscribes: [{channel: a, source: blink, policy: never}]}",
            "4:66: `policy` is the text 'never'; write block, drop_oldest, drop_newest, latest or error",
        ),
        (
            "{port: 2, subscribes: [{channel: a, source: blink, limit: 0}]}",
            "4:65: `limit` is the number 0; write a whole number from 1 to 65536",
        ),
        (
            "{port: 2, subscribes: [{channel: a, source: blink, polcy: block}]}",
            "4:58: unknown field 'polcy'; did you mean `policy`?",
        ),
        (
            "{port: 2, subscribes: [{channel: a, source: blink}, {channel: a, source: led}]}",
            "4:80: channel 'a' of blink is there twice; remove one",
        ),
        (
            "{sketch: x, subscribes: {tick: dark}}",
            "4:38: neither dark nor me has a port, so that none can dial the other; give one of them",
        ),
        (
            "{port: 2, peers: [dark], subscribes: {tick: blink}}",
            "4:51: source 'blink' is not among the `peers:` of me; add blink to them",
        ),
    ],
)
def test_what_is_said_of_mistakes(entry: str, words: str) -> None:
    with pytest.raises(GridError) as caught:
        parse_grid(grid(entry), "g.yaml")
    assert f"g.yaml:{words}" in str(caught.value)
    assert "mistakes" not in str(caught.value)


def test_a_field_has_its_place() -> None:
    me = parse_grid(grid("{port: 2, subscribes: [{channel: tick, source: blink}]}"), "g.yaml").node("me")
    assert me.where("subscribes", "0", "channel") == "g.yaml:4:40"
    assert me.where("subscribes", "0", "policy") == "g.yaml:4:30"
