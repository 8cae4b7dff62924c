"""Times and sizes as people read them."""

from __future__ import annotations

import pytest

from factory.cli.units import size_words, span, time_words


@pytest.mark.parametrize(
    ("seconds", "short", "words"),
    [
        (0.04, "0s", "0.0 s"),
        (12.34, "12s", "12.3 s"),
        (182, "3m02s", "3 m 2 s"),
        (3600, "1h00m", "1 h 0 m"),
        (100_000, "1d", "1 d 3 h"),
    ],
)
def test_times(seconds: float, short: str, words: str) -> None:
    assert (span(seconds), time_words(seconds)) == (short, words)


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (40_697_856, "38.8 MiB"), (5 * 2**29, "2.5 GiB")],
)
def test_sizes(size: int, words: str) -> None:
    assert size_words(size) == words
