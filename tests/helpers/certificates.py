"""Certificates for tests, made as ``mesh cert init`` does: good ones, and old ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from factory import authority
from mesh.node import Tls


def make(folder: Path) -> Tls:
    """Make an authority and a certificate for localhost in a folder."""
    authority.init(folder, ())
    return Tls(*(str(folder / name) for name in (authority.CERT, authority.KEY, authority.AUTHORITY)))


def make_expired(folder: Path) -> Tls:
    """The same, made two years ago."""

    class Then(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(UTC) - timedelta(days=730)

    with patch.object(authority, "datetime", Then):
        return make(folder)
