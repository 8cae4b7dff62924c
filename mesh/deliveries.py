"""How a message is to be delivered, in the words of users."""

from __future__ import annotations

from functools import lru_cache

from mesh.protocol.link import Delivery

REQUEST_TIMEOUT = 10.0
"""Seconds that ``request()`` waits for an answer when it is not told otherwise."""


@lru_cache(maxsize=64)
def delivery_of(name: str, *, patience: float | None, ack_timeout: float | None) -> Delivery:
    """Return what a user asks of the delivery.

    Raises:
        ValueError: If ``name`` is neither ``at-least-once`` nor ``at-most-once``.

    """
    if name not in ("at-least-once", "at-most-once"):
        raise ValueError(f"delivery must be 'at-least-once' or 'at-most-once', got {name!r}")
    return Delivery(patience=patience, ack_timeout=ack_timeout, at_most_once=name == "at-most-once")


@lru_cache(maxsize=64)
def request_delivery(patience: float | None, timeout: float | None) -> Delivery:
    """Return how a request is to be delivered.

    Raises:
        ValueError: If the timeout is not above zero.

    """
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout must be above 0 seconds, got {timeout!r}")
    known = [limit for limit in (patience, timeout) if limit is not None]
    return Delivery(patience=min(known, default=None), ack_timeout=timeout)
