"""The addresses of endpoints, ``SCHEME://...``, and what a scheme is."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from mesh.errors import MeshError
from mesh.text import did_you_mean, listing, printable

if TYPE_CHECKING:
    from mesh.transport.base import Transport
    from mesh.transport.listener import Accept, Listener


class EndpointError(MeshError, ValueError):
    """An address of an endpoint that cannot be used.

    Attributes:
        url: The address as it was written.
        why: What is wrong with it.
        fix: What would be right.

    """

    def __init__(self, url: str, why: str, fix: str) -> None:
        super().__init__(printable(f"{url!r} is no endpoint: {why}; {fix}"))
        self.url = url
        self.why = why
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Address:
    """An endpoint's address in its parts.

    Attributes:
        text: As it was written.
        scheme: What stands before ``://``, in small letters.
        host: The host or name; empty if there is none.
        port: The port, or ``None``.
        path: The path, percent-decoded.
        query: What follows the ``?``.

    """

    text: str
    scheme: str
    host: str = ""
    port: int | None = None
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict)

    def number(self, name: str, default: int) -> int:
        """Return a whole number from the query.

        Raises:
            EndpointError: If it is none.

        """
        text = self.query.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise EndpointError(self.text, f"{name} is {text!r}", "write a whole number")
        return int(text)


@dataclass(frozen=True, slots=True)
class Options:
    """How an endpoint is used; a scheme ignores what it has not.

    Attributes:
        half_open: Whether a byte stream stays open for answers when the peer has sent its last byte.
        ssl: The certificates of ``wss://``, and of ``tcp://`` that is to speak TLS.
        subprotocol: A websocket's subprotocol to offer, or to take when it is offered.
        limit: Most connections of a listener at once.
        notice: Called with a sentence for people, of a device that is gone or back.

    """

    half_open: bool = False
    ssl: ssl.SSLContext | None = None
    subprotocol: str | None = None
    limit: int = 4096
    notice: Callable[[str], object] = lambda _words: None


Listen = Callable[[Address, "Accept", Options], Awaitable["Listener"]]
Dial = Callable[[Address, Options], Awaitable["Transport"]]


@dataclass(frozen=True, slots=True)
class Scheme:
    """A kind of endpoint: how to listen at one, and how to dial one.

    Attributes:
        name: What its addresses begin with.
        listen: Listens; raises ``mesh.ServeError``.
        dial: Connects, once; raises ``DialError``. The caller has a deadline for it.
        example: A whole address, for people.
        is_stream: Whether it carries bytes and no messages, so that it needs a layer to cut them.
        has_host: Whether its addresses have ``HOST:PORT``; else they have a path or a name.
        parameters: What may follow the ``?``.
        is_local: Whether nobody outside of the process can dial it, so that it is no door for clients.
        check: Looks at what else is in an address; raises ``EndpointError``.

    """

    name: str
    listen: Listen
    dial: Dial
    example: str
    is_stream: bool = False
    has_host: bool = False
    parameters: tuple[str, ...] = ()
    is_local: bool = False
    check: Callable[[Address], object] = lambda _address: None


def parse(url: str, schemes: Mapping[str, Scheme]) -> Address:
    """Return the parts of an address.

    Raises:
        EndpointError: If it is not one of a known scheme.

    """
    name, colon, _ = url.partition("://")
    name = name.lower()
    if not colon:
        raise EndpointError(url, "it has no scheme", f"write it as {next(iter(schemes.values())).example}")
    scheme = schemes.get(name)
    if scheme is None:
        near = did_you_mean(name, schemes)
        raise EndpointError(url, f"scheme {name!r} is not known{near}", f"there are {listing(schemes)}")
    right = f"write it as {scheme.example}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as exc:
        raise EndpointError(url, str(exc), right) from exc
    if parts.username is not None or parts.fragment:
        raise EndpointError(url, "it has neither a user nor a fragment", right)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    for word in query:
        if word not in scheme.parameters:
            near = did_you_mean(word, scheme.parameters)
            known = f"it takes {listing(scheme.parameters)}" if scheme.parameters else "it takes none"
            raise EndpointError(url, f"parameter {word!r} is not known{near}", known)
    if scheme.has_host:
        if port is None:
            raise EndpointError(url, "it has no port", right)
    elif port is not None or (parts.netloc and scheme.example.startswith(f"{name}:///")):
        raise EndpointError(url, "it has a path and no host", right)
    elif not (parts.netloc or parts.path.strip("/")):
        raise EndpointError(url, "it leads nowhere", right)
    address = Address(url, name, host, port, unquote(parts.path), query)
    scheme.check(address)
    return address
