"""Times and sizes as people read them."""

from __future__ import annotations

_SPANS = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
_SIZES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def span(seconds: float | None) -> str | None:
    """Return a time in words of at most a few letters: ``45s``, ``3m12s``, ``2h05m``, ``4d``."""
    if seconds is None:
        return None
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d"


def time_words(seconds: float) -> str:
    """Return a time in its two largest units: ``3 m 2 s``, ``1 d 4 h``; below a minute ``12.3 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    left = int(seconds)
    parts: list[str] = []
    for unit, size in _SPANS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def size_words(size: int) -> str:
    """Return a number of bytes: ``512 B``, ``16.4 KiB``, ``38.8 MiB``; as ``mesh top`` and the benchmarks."""
    for unit, much in _SIZES:
        if size >= much:
            return f"{size / much:.1f} {unit}"
    return f"{size} B"
