"""All rings of one process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import cache, partial
from random import Random
from secrets import token_hex

from mesh.errors import GridError, RemoteProtocolError
from mesh.gridfile import Grid, Group
from mesh.links.inbox import Route
from mesh.node import Node
from mesh.protocol.books import Books
from mesh.protocol.ring import Ring, RingSettings
from mesh.protocol.ring.records import Hello, decode_frame, frames, refusal
from mesh.rings.books import books
from mesh.rings.shell import Receipt, RingShell
from mesh.text import listing
from mesh.transport.base import Transport, TransportClosedError

HELLO_TIMEOUT = 5.0
"""Seconds that a dialler may take for its first frame."""

DialNode = Callable[[Node, float], Awaitable[Transport]]


class Rings:
    """The rings that one node is a member of.

    Args:
        name: The node.
        grid: The grid, with its groups.
        dial: Opens a connection to a node, in so many seconds.
        route: Returns where what comes round in a group goes.
        notice: Called with a sentence for people when a ring changes.
        settings: How rings behave.

    """

    def __init__(
        self,
        name: str,
        grid: Grid,
        dial: DialNode,
        route: Callable[[str], Route],
        notice: Callable[[str], None],
        settings: RingSettings | None = None,
    ) -> None:
        self._name = name
        self._grid = grid
        self._dial = dial
        self._route = route
        self._notice = notice
        self._settings = settings
        self._shells: dict[str, RingShell] = {}
        self._random = Random()

    def prepare(self) -> None:
        """Be there for those who dial, before the node serves; on the event loop."""
        incarnation = token_hex(8)
        for group in rings_of(self._name, self._grid):
            self._shells[group.name] = self._shell(group, incarnation)

    def start(self) -> None:
        """Look for the other members of every ring; the node is to serve already."""
        for shell in self._shells.values():
            shell.start()

    def _shell(self, group: Group, incarnation: str) -> RingShell:
        core = Ring(
            group.name,
            self._name,
            incarnation,
            group.members,
            random=self._random,
            settings=self._settings,
        )

        async def dial(name: str, timeout: float) -> Transport:
            return await self._dial(self._grid.node(name), timeout)

        return RingShell(core, dial, cache(partial(self._route, group.name)), self._notice)

    def take_grid(self, grid: Grid) -> None:
        """Dial members where this grid has them from now on; who they are stays as it was."""
        self._grid = grid

    def ring(self, group: str) -> RingShell:
        """Return the member of a ring.

        Raises:
            GridError: If there is no such ring, or the node is not in it.

        """
        shell = self._shells.get(group)
        if shell is None:
            has = listing(self._shells) or "none"
            raise GridError(
                f"{self._name} is in no ring {group!r}, its rings are: {has}; in the grid, "
                f"write {self._name} among the `members:` of a group {group} with `topology: ring`"
            )
        return shell

    async def circulate(self, group: str, msg: object, patience: float | None) -> Receipt:
        """Send a message round a ring; see ``RingShell.circulate``.

        Raises:
            GridError: If there is no such ring, or the node is not in it.

        """
        return await self.ring(group).circulate(msg, patience)

    async def accept(self, transport: Transport) -> str:
        """Serve a connection that a member has opened, until it ends; return why it ended."""
        try:
            async with asyncio.timeout(HELLO_TIMEOUT):
                frame = await transport.recv()
            group = _group(frame)
        except TimeoutError:
            await transport.close("no HELLO came")
            return "the dialler said nothing"
        except TransportClosedError as exc:
            return exc.reason
        except RemoteProtocolError as exc:
            return await self._refuse(transport, "protocol", str(exc))
        shell = self._shells.get(group)
        if shell is None or shell.core.has_left:
            return await self._refuse(transport, "group", f"{self._name} is not in the ring {group}")
        return await shell.accept(transport, frame)

    async def _refuse(self, transport: Transport, code: str, reason: str) -> str:
        with contextlib.suppress(TransportClosedError):
            await transport.send(frames([refusal(code, reason)])[0])
        await transport.close("refused")
        return reason

    def status(self) -> dict[str, object]:
        """Return what each ring looks like from here, and its books."""
        return {"node": self._name, "rings": {name: _status(shell) for name, shell in self._shells.items()}}

    def books(self) -> Books:
        """Return the ledger of all rings."""
        return {name: lines for shell in self._shells.values() for name, lines in books(shell).items()}

    def in_hand(self) -> dict[str, int]:
        """Return how many messages of each ring are not handled yet, where there are any."""
        found = {name: shell.core.traffic.in_hand for name, shell in self._shells.items()}
        return {name: count for name, count in found.items() if count}

    async def leave(self) -> None:
        """Leave every ring in good order; cancel it to be done with it."""
        await asyncio.gather(*(shell.leave() for shell in self._shells.values()))

    async def close(self) -> None:
        """End every connection and task now."""
        await asyncio.gather(*(shell.close() for shell in self._shells.values()))


def rings_of(name: str, grid: Grid) -> list[Group]:
    """Return the rings that a node is a member of."""
    return [group for group in grid.groups.values() if group.topology == "ring" and name in group.members]


def _group(frame: bytes) -> str:
    match decode_frame(frame):
        case [Hello(terms)]:
            return terms.group
    raise RemoteProtocolError("the first frame of a dialler holds one HELLO and nothing else")


def _status(shell: RingShell) -> dict[str, object]:
    core = shell.core
    return {
        "predecessor": core.predecessor,
        "successor": core.successor,
        "successors": list(core.successors),
        "alone": core.is_lone,
        "leaving": core.is_leaving,
        "in_flight": core.traffic.in_flight,
        "in_hand": core.traffic.in_hand,
        "counts": dict(sorted(core.traffic.counts.items())),
    }
