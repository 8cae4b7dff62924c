"""The browser's client, which every worker serves: ``/$mesh.js`` and its types, ``/$mesh.d.ts``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

ASSETS = {"$mesh.js": "text/javascript; charset=utf-8", "$mesh.d.ts": "text/plain; charset=utf-8"}
"""Media types by path, without the leading slash."""


@cache
def asset(path: str) -> tuple[str, bytes]:
    """Return media type and content of one of ``ASSETS``."""
    return ASSETS[path], files(__name__).joinpath(path[1:]).read_bytes()
