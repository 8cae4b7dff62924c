"""Words for people: suggestions, safe printing and durations."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>ms|s|m|h)?")
# C0 and C1 controls move cursors and change titles; the separators and the
# bidirectional overrides make a line read as something it is not.
_UNSAFE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most like ``word``, or ``None`` when none is near."""
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    return names[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``", did you mean 'x'?"`` for the closest known word, else nothing."""
    near = closest(word, known)
    return f", did you mean {near!r}?" if near else ""


def printable(text: str) -> str:
    r"""Return ``text`` with whatever could control a terminal written as ``\x1b``.

    Line breaks are escaped as well, so that one call prints one line; tabs stay.
    """
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def listing(words: Iterable[str], last: str = "and") -> str:
    """Return words as prose: ``a``, ``a and b``, ``a, b and c``."""
    items = list(words)
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def endpoint(host: str, port: int) -> str:
    """Return ``host:port``, with brackets around an IPv6 address."""
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def seconds(duration: str | float) -> float:
    """Return a duration in seconds.

    Args:
        duration: A number of seconds, or text such as ``500ms``, ``30s``,
            ``5m``, ``1h`` or ``2.5`` (seconds).

    Raises:
        ValueError: If the text is no duration, or the duration is not above zero.

    """
    if isinstance(duration, str):
        match = _DURATION.fullmatch(duration.strip())
        if match is None:
            raise ValueError(f"{duration!r} is no duration; write it as 500ms, 30s, 5m or 1h")
        value = float(match["number"]) * _UNITS[match["unit"] or "s"]
    else:
        value = float(duration)
    if not 0 < value < float("inf"):
        raise ValueError(f"a duration must be above zero, got {duration!r}")
    return value
