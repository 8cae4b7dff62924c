"""``memory://name``: within one process, for tests and for fleets that are one program."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from mesh.errors import ServeError
from mesh.transport.address import Address, Options, Scheme
from mesh.transport.base import Transport
from mesh.transport.listener import Accept, Listener
from mesh.transport.memory import MemoryNetwork

_networks: WeakKeyDictionary[asyncio.AbstractEventLoop, MemoryNetwork] = WeakKeyDictionary()


def network() -> MemoryNetwork:
    """Return the network of this event loop."""
    return _networks.setdefault(asyncio.get_running_loop(), MemoryNetwork())


class MemoryListener(Listener):
    """Takes connections at a name."""

    def __init__(self, address: Address, accept: Accept, options: Options) -> None:
        super().__init__(accept, options)
        self._url = address
        self._network = network()
        if self._network.is_listening(address.text):
            raise ServeError(f"cannot serve on {address.text}: that name is taken; choose another one")
        self._network.listen(address.text, self._take)

    @property
    def address(self) -> str:
        """Its address."""
        return self._url.text

    async def _take(self, transport: Transport) -> None:
        task = self.let_in(transport)
        if task is not None:
            await asyncio.wait([task])

    def _stop(self) -> None:
        self._network.close(self._url.text)


async def listen(address: Address, accept: Accept, options: Options) -> Listener:
    """Listen at a name."""
    return MemoryListener(address, accept, options)


async def dial(address: Address, _options: Options) -> Transport:
    """Connect to a name."""
    return await network().dial("memory", address.text)


MEMORY = Scheme("memory", listen, dial, "memory://name", is_local=True)
