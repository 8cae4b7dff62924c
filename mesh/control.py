"""A socket on which a process answers questions about itself, and who asks them.

- It is a unix socket in the runtime directory, which nobody but this user can reach.
- What it speaks is the link of every worker, so that requests and streams of parts are there
  already. It has a hub of its own: questions are in no ledger and no ``on_peer`` of a sketch.
- A question is a message to a channel that begins with ``$``. What answers it is a function of
  the message: its value, or what it awaits, is the answer; an async generator gives parts.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mesh.dialling import AbsentError
from mesh.errors import AckTimeoutError, DeliveryError, PeerDownError
from mesh.links.asking import Asking
from mesh.links.dialler import Dial, Dialler
from mesh.links.hub import Hub
from mesh.links.inbox import Route
from mesh.links.requesting import request
from mesh.node import Node, NodeDoor
from mesh.protocol.link import Delivery, Failed, Reason
from mesh.protocol.values import Refusal
from mesh.runtime import checked_socket
from mesh.streams import Ask
from mesh.text import did_you_mean

if TYPE_CHECKING:
    from mesh.link_doors import LinkDoors
    from mesh.transport.base import Transport

Answer = Callable[[Any], Any]
"""Returns the answer to a message: a value, an awaitable of one, or an async generator of parts."""

GOODBYE = 0.5
"""Seconds that closing may take."""


class Control:
    """The answering end: serves from ``open()`` to ``close()``.

    Args:
        name: What the process is called.
        answers: What answers, by channel. It may be added to while the socket is open.

    """

    def __init__(self, name: str, answers: Mapping[str, Answer]) -> None:
        self._hub = Hub(name, _Receiver(name, answers), notice=_ignore, changed=_ignore)
        self._doors: LinkDoors | None = None

    async def open(self, path: Path) -> None:
        """Begin to answer.

        Args:
            path: Where the socket is to be.

        Raises:
            RuntimeDirectoryError: If that path is too long for a socket.
            ServeError: If it cannot be made.

        """
        # Late, for who only asks has no use for it.
        from mesh.link_doors import LinkDoors

        door = NodeDoor(f"unix://{quote(str(checked_socket(path)))}", ("len32le",), "link")
        self._doors = LinkDoors([door], self._hub.accept, notice=_ignore)
        await self._doors.open()

    async def close(self) -> None:
        """End what is asked, and answer nothing any more."""
        if self._doors is not None:
            self._doors.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE):
                self._hub.refuse_asks()
                await self._hub.end_asks(GOODBYE / 2)
                await self._hub.drain("stopping")
        await self._hub.close()
        if self._doors is not None:
            await self._doors.close()


class Questions:
    """The asking end; made by ``questions()`` or ``questions_to()``."""

    def __init__(self, name: str, where: str, dialler: Dialler) -> None:
        self._name = name
        self._where = where
        self._dialler = dialler

    async def request(self, channel: str, msg: object = None, *, timeout: float | None = 5.0) -> Any:
        """Ask for one answer.

        Args:
            channel: What is asked for, such as ``$info``.
            msg: What is to be known for it.
            timeout: Seconds to wait; ``None`` for as long as the process lives.

        Raises:
            NackedError: If the process refuses.
            PeerDownError: If it is not there, or went away.
            AckTimeoutError: If it is there and does not answer in time.

        """
        link = await self._dialler.first_contact(timeout)
        delivery = Delivery(patience=timeout, ack_timeout=timeout, at_most_once=True, from_start=True)
        return await request(link, channel, msg, delivery, peer=self._name, explain=self._explain)

    def ask(self, channel: str, msg: object = None, *, patience: float | None = 5.0) -> Ask:
        """Ask for an answer in parts; raises what ``request()`` raises, in the place of a part."""

        async def start() -> Asking:
            link = await self._dialler.first_contact(patience)
            return link.asks.ask(channel, msg, peer=self._name, patience=patience, explain=self._explain)

        return Ask(self._name, start)

    def _explain(self, failure: Failed) -> Exception:
        if failure.reason is Reason.ACK_TIMEOUT:
            return AckTimeoutError(self._name, failure.waited, transmitted=failure.transmitted)
        if failure.reason in (Reason.PEER_DOWN, Reason.CLOSED):
            why = self._dialler.why_absent
            return PeerDownError(self._name, self._where, failure.waited, why)
        return DeliveryError(self._name, f"{self._name} has not answered ({failure.reason.value})")


@asynccontextmanager
async def questions(name: str, path: str | Path) -> AsyncIterator[Questions]:
    """Ask a process about itself.

    Args:
        name: What to call it in errors.
        path: Its control socket.

    """
    async with _asking(name, str(path), partial(_dial, str(path))) as asking:
        yield asking


@asynccontextmanager
async def questions_to(node: Node, *, once: bool = False) -> AsyncIterator[Questions]:
    """Ask a node about itself at its door, which may refuse it.

    Args:
        node: The node.
        once: Dial once, instead of again and again until the time is over.

    Raises:
        NotAServerError: If it has no door.

    """
    from mesh.dialling import dial_link

    async with _asking(node.name, node.link_uri, partial(dial_link, node), once=once) as asking:
        yield asking


@asynccontextmanager
async def _asking(name: str, where: str, dial: Dial, *, once: bool = False) -> AsyncIterator[Questions]:
    who = f"$asks-{token_hex(4)}"
    hub = Hub(who, _Receiver(who, {}), notice=_ignore, changed=_ignore)
    if once:
        hub.give_up()
    dialler = hub.dialler(name, where, dial)
    try:
        yield Questions(name, where, dialler)
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await hub.drain("done")
    finally:
        await hub.close()


async def _dial(path: str) -> Transport:
    """Connect as to ``unix://`` with ``len32le``, without all that finds schemes and layers by name."""
    from mesh.transport.layers.layered import Layered
    from mesh.transport.layers.len32le import Len32le
    from mesh.transport.stream import StreamTransport

    try:
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_unix_connection(lambda: StreamTransport(path), path)
    except OSError as exc:
        raise AbsentError("nobody listens there") from exc
    return Layered(wire, [Len32le()])


class _Receiver:
    """Takes questions to what answers them."""

    def __init__(self, name: str, answers: Mapping[str, Answer]) -> None:
        self._name = name
        self._answers = answers

    def opened(self, peer: str, channel: str) -> Route:
        return Route(self._answer, None)

    async def _answer(self, channel: str, msg: Any) -> Any:
        answer = self._answers.get(channel)
        if answer is None:
            raise LookupError(self._unknown(channel))
        return await answered_at_once(answer, msg)

    def asked(self, peer: str, channel: str, item: Any) -> AsyncGenerator[Any, None] | Refusal:
        answer = self._answers.get(channel)
        if answer is None:
            return Refusal("LookupError", self._unknown(channel))
        return parts_of(answer, item)

    async def recover(self, peer: str, channel: str, item: Any, error: BaseException) -> Refusal:
        return Refusal(type(error).__name__, str(error))

    def unsendable(self, peer: str, channel: str, what: str, error: Exception) -> None:
        """The asker is told that it was refused."""

    def _unknown(self, channel: str) -> str:
        known = sorted(self._answers)
        return f"{self._name} answers nothing on {channel!r}{did_you_mean(channel, known)}"


async def answered_at_once(answer: Answer, msg: Any) -> Any:
    """Return the one answer to a message.

    Raises:
        TypeError: If it is answered in parts.

    """
    found = answer(msg)
    if inspect.isasyncgen(found):
        await found.aclose()
        raise TypeError("it answers in parts; ask for them")
    return await found if inspect.isawaitable(found) else found


async def parts_of(answer: Answer, msg: Any) -> AsyncGenerator[Any, None]:
    """Give the parts of the answer to a message, or the one that there is."""
    found: Any = answer(msg)
    if not inspect.isasyncgen(found):
        yield await found if inspect.isawaitable(found) else found
        return
    async with aclosing(found):
        async for part in found:
            yield part


def _ignore(*_: object) -> None:
    pass
