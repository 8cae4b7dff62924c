"""How a message is to be delivered, in the words of users."""

from __future__ import annotations

from functools import lru_cache

from mesh.arguments import check_seconds
from mesh.protocol.link import Delivery

REQUEST_TIMEOUT = 10.0
"""Seconds that ``request()`` waits for an answer when it is not told otherwise."""


def delivery_of(name: str, *, patience: float | None, ack_timeout: float | None) -> Delivery:
    """Return what a user asks of the delivery.

    Raises:
        ValueError: If ``name`` is neither ``at-least-once`` nor ``at-most-once``, or a limit not above
            zero.
        TypeError: If a limit is no number.

    """
    # Not in what is cached: what no number is may have no hash, and True is found as 1.
    check_seconds("patience", patience)
    check_seconds("ack_timeout", ack_timeout)
    if name not in ("at-least-once", "at-most-once"):
        raise ValueError(f"delivery must be 'at-least-once' or 'at-most-once', got {name!r}")
    return _delivery(patience, ack_timeout, at_most_once=name == "at-most-once")


def request_delivery(patience: float | None, timeout: float | None) -> Delivery:
    """Return how a request is to be delivered.

    Raises:
        ValueError: If a limit is not above zero.
        TypeError: If a limit is no number.

    """
    check_seconds("patience", patience)
    check_seconds("timeout", timeout)
    if patience is None or (timeout is not None and timeout < patience):
        patience = timeout
    return _delivery(patience, timeout, at_most_once=False, from_start=True)


@lru_cache(maxsize=64)
def _delivery(
    patience: float | None, ack_timeout: float | None, *, at_most_once: bool, from_start: bool = False
) -> Delivery:
    return Delivery(
        patience=patience, ack_timeout=ack_timeout, at_most_once=at_most_once, from_start=from_start
    )
