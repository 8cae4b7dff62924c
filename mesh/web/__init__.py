"""The browser's client, which every worker serves: ``/$mesh.js`` and its types, ``/$mesh.d.ts``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

ASSETS = {"$mesh.js": "text/javascript; charset=utf-8", "$mesh.d.ts": "text/plain; charset=utf-8"}
"""Media types by path, without the leading slash."""


@cache
def asset(path: str) -> tuple[dict[str, str], bytes]:
    """Return the HTTP headers and the content of one of ``ASSETS``."""
    content = files(__name__).joinpath(path[1:]).read_bytes()
    headers = {
        "Content-Type": ASSETS[path],
        "Content-Length": str(len(content)),
        # It is no secret; and a page that was let in may come from another port of this machine.
        "Access-Control-Allow-Origin": "*",
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return headers, content
