"""Endpoints by address: listen at one, dial one, or add a scheme of one's own.

``ws://HOST:PORT``, ``wss://HOST:PORT``, ``ws+unix:///path.sock``, ``tcp://HOST:PORT``,
``unix:///path.sock``, ``serial:///dev/ttyUSB0?baud=115200`` and ``memory://name``; see
docs/reference/transports.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Final

from mesh.transport.address import Address, EndpointError, Options, Scheme, parse
from mesh.transport.base import DialError, Transport
from mesh.transport.layers import LayerSpec, layered, makers
from mesh.transport.listener import Accept, Listener

GROUP: Final = "sketchmesh.transports"
"""Entry points of this group are schemes of other packages: each leads to a ``Scheme``."""

OPEN_TIMEOUT: Final = 5.0
"""Seconds that one attempt to connect may take, unless told otherwise."""

_own: dict[str, Scheme] = {}


def register(scheme: Scheme) -> None:
    """Make a scheme known to this process; one of the same name is replaced."""
    _own[scheme.name] = scheme


def schemes() -> Mapping[str, Scheme]:
    """Return every scheme by its name: the shipped ones, those of installed packages, the registered ones."""
    return {**_shipped(), **_own}


@cache
def _shipped() -> Mapping[str, Scheme]:
    # Here and not at the top: whoever only reads addresses needs no sockets.
    from mesh.transport.schemes import SCHEMES

    found = {scheme.name: scheme for scheme in SCHEMES}
    for entry in entry_points(group=GROUP):
        scheme = entry.load()
        if not isinstance(scheme, Scheme):
            raise TypeError(
                f"entry point {entry.name!r} of group {GROUP} leads to {scheme!r}, which is no Scheme"
            )
        found.setdefault(scheme.name, scheme)
    return found


def address_of(url: str) -> Address:
    """Return the parts of an address.

    Raises:
        EndpointError: If it is not one.

    """
    return parse(url, schemes())


def is_stream(url: str) -> bool:
    """Say whether what is at an address carries bytes, so that it takes a layer to have messages.

    Raises:
        EndpointError: If it is no address.

    """
    return schemes()[address_of(url).scheme].is_stream


async def listen(
    url: str, accept: Accept, *, layers: Sequence[LayerSpec] = (), options: Options | None = None
) -> Listener:
    """Take connections at an address.

    Args:
        url: The address. Port 0 takes a free one. A host is as narrow as it is written: ``localhost``
            is this machine, ``0.0.0.0`` everybody.
        accept: Runs for each connection, in a task of its own, and owns it until it returns.
        layers: What lies between the wire and ``accept``, first that nearest the wire.
        options: How many connections there may be, and what else a scheme may be told.

    Raises:
        EndpointError: If it is no address.
        ValueError: If there is no layer of a name.
        ServeError: If nobody can listen there now.

    """
    address = address_of(url)
    wrapped: Accept = accept
    if layers:
        made = makers(layers)

        async def wrapped(transport: Transport) -> None:
            await accept(layered(transport, made))

    return await schemes()[address.scheme].listen(address, wrapped, options or Options())


async def dial(
    url: str,
    *,
    layers: Sequence[LayerSpec] = (),
    timeout: float | None = OPEN_TIMEOUT,
    options: Options | None = None,
) -> Transport:
    """Connect to an address, once.

    Args:
        url: The address.
        layers: What lies between the wire and the caller, first that nearest the wire.
        timeout: Seconds that it may take; ``None`` for as long as the system allows.
        options: What a scheme may be told.

    Raises:
        EndpointError: If it is no address.
        ValueError: If there is no layer of a name.
        DialError: If nobody can be reached there now; its ``for_good`` says whether that can change.

    """
    address = address_of(url)
    made = makers(layers)
    try:
        async with asyncio.timeout(timeout):
            transport = await schemes()[address.scheme].dial(address, options or Options())
    except TimeoutError:
        raise DialError(url, f"no answer within {timeout:g} s") from None
    except OSError as exc:
        if isinstance(exc, DialError):
            raise
        raise DialError(url, why(exc)) from exc
    return layered(transport, made)


def why(exc: OSError) -> str:
    """Return in words why a connection could not be made."""
    if isinstance(exc, ConnectionRefusedError) or "refused" in str(exc).lower():
        # asyncio joins the errors of all addresses of a name into one text.
        return "nobody listens there"
    return (exc.strerror or str(exc)).lower()


__all__ = [
    "GROUP",
    "OPEN_TIMEOUT",
    "Address",
    "DialError",
    "EndpointError",
    "Options",
    "Scheme",
    "address_of",
    "dial",
    "is_stream",
    "listen",
    "register",
    "schemes",
    "why",
]
