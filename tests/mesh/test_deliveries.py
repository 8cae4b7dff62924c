"""How a message is to be delivered, as users say it."""

from __future__ import annotations

import pytest

from mesh.deliveries import delivery_of


def test_what_a_user_asks_of_the_delivery() -> None:
    wanted = delivery_of("at-most-once", patience=None, ack_timeout=2.0)
    assert (wanted.at_most_once, wanted.patience, wanted.ack_timeout) == (True, None, 2.0)
    assert not delivery_of("at-least-once", patience=1.0, ack_timeout=None).at_most_once
    with pytest.raises(ValueError, match="delivery must be 'at-least-once' or 'at-most-once', got 'once'"):
        delivery_of("once", patience=None, ack_timeout=None)
