"""What may be given for an argument; what may not is told by its name, with what came and what is right."""

from __future__ import annotations

from numbers import Integral, Real
from reprlib import repr as shown
from typing import Any

# The usual ones first: to ask an abstract class takes longer.
_REAL = (float, int, Real)
_WHOLE = (int, Integral)


def check_seconds(name: str, value: Any) -> None:
    """See that a limit of time is a number of seconds above zero, or ``None`` for no limit.

    Args:
        name: What the argument is called.
        value: What was given for it.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is not above zero.

    """
    if value is None:
        return
    if not _is_a(value, _REAL):
        raise TypeError(f"{name} must be a number of seconds, or None for no limit; got {shown(value)}")
    if not value > 0:
        raise ValueError(f"{name} must be above 0 seconds, or None for no limit; got {shown(value)}")


def check_count(name: str, value: Any, most: int | None = None, *, what: str) -> None:
    """See that a number of things is whole and at least one, or ``None`` for no limit.

    Args:
        name: What the argument is called.
        value: What was given for it.
        most: The largest that makes sense; ``None`` for any.
        what: What is counted, as in ``the nodes that are asked``.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is below one or above ``most``.

    """
    if value is None:
        return
    limits = "of at least 1" if most is None else f"from 1 to {most}"
    words = f"{name} must be a whole number {limits}, {what}; got {shown(value)}"
    if not _is_a(value, _WHOLE):
        raise TypeError(words)
    if value < 1 or (most is not None and value > most):
        raise ValueError(words)


def check_channel(value: object) -> None:
    """See that a channel is text.

    Raises:
        TypeError: If it is not.

    """
    if not isinstance(value, str):
        raise TypeError(f"a channel is named by text, such as 'tick' or 'pin/7'; got {shown(value)}")


def _is_a(value: object, kinds: tuple[type, ...]) -> bool:
    # Python counts True as 1, and nobody who writes it means that.
    return isinstance(value, kinds) and not isinstance(value, bool)
