"""The benchmark of boards: its books must be able not to balance."""

from __future__ import annotations

import pytest

from benchmarks.boards import Books

Batch = tuple[int, int, range]
"""Number of a batch, how many edges it says are missing before it, and the numbers of its edges."""


def kept(*batches: Batch) -> Books:
    books = Books(0)
    for seq, missed, numbers in batches:
        books.take({"edges": [[number, 0.0, 13, "level", 1] for number in numbers], "missed": missed}, seq)
    return books


@pytest.mark.parametrize(
    ("batches", "dropped", "observed", "declared"),
    [
        ([(7, 0, range(1, 5)), (8, 0, range(5, 9))], 0, 8, 0),
        # The log had lost 4 of them.
        ([(1, 0, range(1, 3)), (2, 4, range(7, 9))], 0, 4, 4),
        # The subscription has dropped a batch.
        ([(1, 0, range(1, 3)), (3, 0, range(7, 9))], 1, 4, 4),
        ([(1, 0, range(1, 2)), (3, 2, range(7, 9))], 1, 3, 5),
    ],
)
def test_books_balance_if_each_gap_has_a_cause(
    batches: list[Batch], dropped: int, observed: int, declared: int
) -> None:
    books = kept(*batches)
    assert (books.observed, books.declared, books.silent) == (observed, declared, 0)
    assert books.balance(8, dropped)


@pytest.mark.parametrize(
    ("batches", "dropped"),
    [
        # A gap of which nobody says anything, between batches and inside one.
        ([(1, 0, range(1, 3)), (2, 0, range(7, 9))], 0),
        ([(1, 0, range(1, 9, 7))], 0),
        # Fewer are declared than are missing, and more.
        ([(1, 0, range(1, 3)), (2, 3, range(7, 9))], 0),
        ([(1, 0, range(1, 3)), (2, 4, range(7, 9))], 1),
        # A batch is missing, and the subscription says nothing of it.
        ([(1, 0, range(1, 3)), (3, 0, range(7, 9))], 0),
        # A batch was dropped, and yet no edge is missing; one that came twice hides one that did not.
        ([(1, 0, range(1, 5)), (2, 0, range(4, 8))], 0),
        # The last ones are missing.
        ([(1, 0, range(1, 8))], 0),
    ],
)
def test_books_do_not_balance_if_one_has_none(batches: list[Batch], dropped: int) -> None:
    assert not kept(*batches).balance(8, dropped)
