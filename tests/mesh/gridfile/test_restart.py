"""``restart:`` of an entry: what may be written, what comes of it, and what is said of mistakes."""

from __future__ import annotations

import pytest

from mesh.errors import GridError
from mesh.gridfile import parse_grid
from mesh.node import Restart


def grid(written: str) -> bytes:
    return f"nodes:\n  me: {{port: 2, restart: {written}}}\n".encode()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("never", Restart("never")),
        ("on-failure", Restart()),
        ("always", Restart("always")),
        ("{}", Restart()),
        ("{policy: always, delay: 250ms}", Restart("always", 0.25)),
        ("{most: 3, window: 5m}", Restart(most=3, window=300.0)),
    ],
)
def test_what_may_be_written(written: str, expected: Restart) -> None:
    assert parse_grid(grid(written)).node("me").restart == expected


def test_a_node_that_fails_is_started_again_unless_something_else_is_said() -> None:
    assert parse_grid(b"nodes: {me: {port: 2}}").node("me").restart == Restart("on-failure", 0.5, 5, 60.0)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("sometimes", "2:26: `restart` is the text 'sometimes'; write never, on-failure or always"),
        ("7", "2:26: `restart` is the number 7; write never"),
        ("{polcy: never}", "2:27: unknown field 'polcy'; did you mean `policy`?"),
        ("{delay: 3}", "2:34: `delay` is the number 3; write a duration such as 500ms"),
        ("{delay: soon}", "`delay` is the text 'soon'; write a duration"),
        ("{window: 0s}", "`window` is the text '0s'; write a duration"),
        (f"{{window: {'9' * 400}h}}", "write a duration"),
        ("{most: 0}", "2:33: `most` is the number 0; write a whole number from 1 to 1000"),
    ],
)
def test_a_mistake_is_told_with_its_place(written: str, words: str) -> None:
    with pytest.raises(GridError) as caught:
        parse_grid(grid(written))
    assert words in str(caught.value)
