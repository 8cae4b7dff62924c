"""How long a soak may take in all."""

from __future__ import annotations

import os

import pytest

SOAK = [
    pytest.mark.soak,
    pytest.mark.fleet,
    # Start and end come on top, and `make soak` may ask for any number of seconds.
    pytest.mark.timeout(300 + 2 * float(os.environ.get("SOAK_SECONDS") or 2)),
]
"""Marks of every soak."""
