"""Files for browsers: the client ``/$mesh.js`` that every worker serves, and the pages of a sketch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

# Whatever a page is made to do, it loads nothing from elsewhere and talks to nobody else.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

ASSETS = {"$mesh.js": _KINDS["js"], "$mesh.d.ts": "text/plain; charset=utf-8"}
"""Media types by path, without the leading slash."""


@dataclass(frozen=True, slots=True)
class Page:
    """One file for browsers.

    Attributes:
        kind: Its media type.
        content: What is in it.
        more: Headers besides the usual ones.

    """

    kind: str
    content: bytes
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers that it is served with."""
        return {
            "Content-Type": self.kind,
            "Content-Length": str(len(self.content)),
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
            **self.more,
        }


@cache
def asset(path: str) -> Page:
    """Return one of ``ASSETS``."""
    content = files(__name__).joinpath(path[1:]).read_bytes()
    # It is no secret; and a page that was let in may come from another port of this machine.
    return Page(ASSETS[path], content, {"Access-Control-Allow-Origin": "*"})


@cache
def pages(package: str, folder: str) -> dict[str, Page]:
    """Return the files of a folder by path, without the leading slash; ``index.html`` is at ``/`` as well.

    Args:
        package: The package that the folder is in.
        folder: Its name. Files of other kinds than HTML, CSS, JavaScript and SVG are left out.

    """
    found = {
        file.name: Page(_KINDS[ending], file.read_bytes(), {"Content-Security-Policy": _POLICY})
        for file in files(package).joinpath(folder).iterdir()
        if (ending := file.name.rpartition(".")[2]) in _KINDS
    }
    if "index.html" in found:
        found[""] = found["index.html"]
    return found
