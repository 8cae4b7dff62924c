"""Who may knock: the rules on ``Host`` and ``Origin``, as pure functions.

A worker drives hardware, and every web page that a maker has open can send
requests to ``localhost``. Two headers tell such a page apart, and browsers let no
page forge them: ``Origin`` names the page, ``Host`` the name it believes it talks
to (which unmasks DNS rebinding, where a foreign name points at 127.0.0.1).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from mesh.gridfile.address import explain_origin
from mesh.node import is_loopback

# Spelled out, for urlsplit() lets `evil.example[::1]` pass as ::1 and drops tabs.
_AUTHORITY = re.compile(
    r"(?P<host>\[[0-9a-f:.]+(%[0-9a-z._~%-]+)?\]|[^\s\[\]@:/?#%\\]+)(:(?P<port>[0-9]{0,5}))?",
    re.ASCII | re.IGNORECASE,
)


def why_refused(
    hosts: Sequence[str],
    origins: Sequence[str],
    *,
    own_hosts: Collection[str],
    allowed_origins: Collection[str],
) -> str | None:
    """Return why a request may not come in, or ``None`` if it may.

    Args:
        hosts: Every ``Host`` header of the request.
        origins: Every ``Origin`` header of the request.
        own_hosts: Names and addresses this worker is reached by, besides loopback.
        allowed_origins: Origins the grid lists, such as ``https://lab.example``.

    """
    if len(hosts) != 1 or len(origins) > 1:
        return "exactly one Host header and at most one Origin header are expected"
    host = _hostname(hosts[0])
    if host is None or not _is_ours(host, own_hosts):
        return f"Host {hosts[0]!r} is not a name of this worker"
    if not origins or origins[0] in allowed_origins:
        return None
    origin = origins[0]
    scheme, _, authority = origin.partition("://")
    page = _hostname(authority) if scheme in ("http", "https") else None
    if page is not None and _is_ours(page, own_hosts):
        return None
    return f"Origin {origin!r} may not use this worker; {_advice(origin)}"


def _advice(origin: str) -> str:
    if origin == "null":
        return (
            "any page can have that origin (a sandboxed frame, a page opened as a file), so serve the page "
            "over http instead, or list 'null' under `origins:` in grid.yaml to let all of them in"
        )
    if explain_origin(origin) is None:
        return "list it under `origins:` in grid.yaml if it should"
    return "it is none that grid.yaml could list, so serve the page over http instead"


def _is_ours(host: str, own_hosts: Collection[str]) -> bool:
    return is_loopback(host) or host in {_bare(own) for own in own_hosts}


def _hostname(authority: str) -> str | None:
    found = _AUTHORITY.fullmatch(authority)
    if found is None or int(found["port"] or 0) > 65535:
        return None
    return _bare(found["host"])


def _bare(host: str) -> str:
    # The zone of an IPv6 address (`fe80::1%eth0`) names an interface of the one who
    # dials; it means nothing here, and is written `%25eth0` in a URI.
    return host.strip("[]").partition("%")[0].rstrip(".").lower()
