"""All links of one process: one for each peer, dialled or accepted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from random import Random
from secrets import token_hex
from typing import Any

from mesh.backoff import Backoff
from mesh.dialling import AbsentError
from mesh.errors import (
    DeliveryError,
    NameTakenError,
    PeerDownError,
    RemoteProtocolError,
    VersionMismatchError,
)
from mesh.links.inbox import Receiver
from mesh.links.shell import LinkShell
from mesh.protocol.books import Books, Forgotten, joined
from mesh.protocol.link import HelloTerms, Link, LinkSettings, read_hello, read_refusal, refusal
from mesh.text import printable
from mesh.transport.base import Transport, TransportClosedError

HELLO_TIMEOUT = 5.0
"""Seconds that a dialler may take for its first frame."""

STEADY = 1.0
"""Seconds that a connection must have held to be dialled again at once."""

MAX_LINKS = 4096
"""Links of one process; one more peer is refused with ``too-many``."""

MOST_TOLD = 256
"""Processes of which it is remembered that their refusal was told, for they may try again and again."""

Dial = Callable[[], Awaitable[Transport]]


class Hub:
    """Every link of one process.

    Args:
        name: This process's name in the grid.
        receiver: Who handles messages.
        notice: Called with a sentence for people when a peer is awaited or is back, or was refused.
        changed: Called with a peer's name, its state and a reason.
        settings: How links behave.
        random: Where the jitter of the back-off comes from.

    """

    def __init__(
        self,
        name: str,
        receiver: Receiver,
        *,
        notice: Callable[[str], None],
        changed: Callable[[str, str, str], None],
        settings: LinkSettings | None = None,
        random: Random | None = None,
    ) -> None:
        self.name = name
        self.incarnation = token_hex(8)
        self._receiver = receiver
        self._notice = notice
        self._changed = changed
        self._settings = settings
        self._random = random or Random()
        self._links: dict[str, LinkShell] = {}
        self._dials: dict[str, Dialler] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._forgotten = Forgotten()
        self._told: dict[tuple[str, str, str], None] = {}
        self._closing = False
        self._closed = False
        self._given_up = False

    # -- dialling ------------------------------------------------------------------------

    def dialler(self, name: str, where: str, dial: Dial) -> Dialler:
        """Return what keeps the link to a peer up; makes it when it is first asked for.

        Args:
            name: What we call the peer. It may call itself otherwise, which is told once.
            where: Its address, for people.
            dial: Opens a connection to it.

        After ``drain()`` it begins anew, for the last words of a worker; after ``close()``
        no more.

        Raises:
            PeerDownError: If the hub is closed.

        """
        if self._closed:
            raise PeerDownError(name, where, 0.0, "this worker has stopped", stopping=True)
        found = self._dials.get(name)
        if found is None or found.has_ended or found.link.is_closed:
            link = self._links.get(name)
            if link is None or link.is_closed:
                self._forget(name)
                link = self._links[name] = self._make(None, name)
            backoff = Backoff(self._random)
            found = self._dials[name] = Dialler(link, name, where, dial, backoff, self._notice)
            if self._given_up:
                found.give_up()
        return found

    def _make(self, peer: str | None, called: str) -> LinkShell:
        now = asyncio.get_running_loop().time()
        core = Link(self.name, self.incarnation, now, peer=peer, settings=self._settings)
        link = LinkShell(core, self._receiver, lambda state, reason: self._changed(called, state, reason))
        link.when_over = lambda: self._over(called, link)
        return link

    def _over(self, called: str, link: LinkShell) -> None:
        dialler = self._dials.get(called)
        if self._links.get(called) is link and link.is_over and (dialler is None or dialler.has_ended):
            self._forget(called)

    def _forget(self, called: str) -> None:
        """Drop a link that nobody needs any more, and its tasks."""
        link = self._links.pop(called, None)
        dialler = self._dials.pop(called, None)
        if link is None:
            return
        self._forgotten.add(called, link.core.books())

        async def end() -> None:
            if dialler is not None:
                await dialler.close()
            await link.shut()

        task = asyncio.get_running_loop().create_task(end(), name=f"end of the link to {called}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _make_room(self) -> bool:
        """Return whether there is room for one more link; drop what is over if there is none."""
        if len(self._links) >= MAX_LINKS:
            for called, link in list(self._links.items()):
                self._over(called, link)
        return len(self._links) < MAX_LINKS

    # -- accepting -----------------------------------------------------------------------

    async def accept(self, transport: Transport) -> str:
        """Serve a connection that a peer has opened, until it ends.

        Returns:
            Why it ended, for people.

        """
        try:
            async with asyncio.timeout(HELLO_TIMEOUT):
                frame = await transport.recv()
            hello = read_hello(frame)
        except TimeoutError:
            await transport.close("no HELLO came")
            return "the peer said nothing"
        except TransportClosedError as exc:
            return exc.reason
        except RemoteProtocolError as exc:
            await self._refuse(transport, refusal("protocol", str(exc)))
            return f"protocol error: {exc}"
        called = hello.name
        link, is_new = self._links.get(called), False
        if link is not None and link.core.peer not in (None, hello.name):
            # Dialled under that name, and another one answered: that link is not this peer's.
            called = f"{hello.name} (accepted)"
            link = self._links.get(called)
        if link is None or link.is_closed:
            if self._closing:
                await self._refuse(transport, refusal("closing", f"{self.name} is going away"))
                return "this worker is stopping"
            if not self._make_room():
                full = refusal("too-many", f"{self.name} has {MAX_LINKS} links")
                self._tell(hello, transport.peer, full)
                await self._refuse(transport, full)
                return "too many links"
            self._forget(called)
            link, is_new = self._make(hello.name, called), True
        no = link.core.accept(hello, asyncio.get_running_loop().time(), session=token_hex(8))
        if no is not None:
            self._tell(hello, transport.peer, no)
            await self._refuse(transport, no)
            return f"{hello.name} was refused"
        if is_new:
            # Not before: a stranger who is refused leaves nothing behind.
            self._links[called] = link
        return await link.run(transport)

    def _tell(self, hello: HelloTerms, where: str, no: bytes) -> None:
        """Say that a process was refused: once for each, and not of what is mended by itself."""
        code, reason = read_refusal(no)
        told = (code, hello.name, hello.incarnation)
        if code in ("duplicate", "closing", "unsure") or told in self._told:
            return
        self._told[told] = None
        if len(self._told) > MOST_TOLD:
            del self._told[next(iter(self._told))]
        self._notice(printable(f"refused a link with {hello.name} at {where} ({code}: {reason})"))

    async def _refuse(self, transport: Transport, frame: bytes) -> None:
        with contextlib.suppress(TransportClosedError):
            await transport.send(frame)
        await transport.close("refused")

    # -- the whole -------------------------------------------------------------------------

    def give_up(self) -> None:
        """Wait for absent peers no longer: what waits for them fails."""
        self._given_up = True
        for dialler in self._dials.values():
            dialler.give_up()

    async def drain(self, reason: str) -> None:
        """Leave every link in good order and take no new ones; cancel it to be done with it."""
        self._closing = True
        await asyncio.gather(*(link.leave(reason) for link in self._links.values()))

    async def close(self) -> None:
        """End every link and task now."""
        self._closing = self._closed = True
        await asyncio.gather(*(dialler.close() for dialler in self._dials.values()))
        await asyncio.gather(*(link.shut() for link in self._links.values()))
        while self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)

    def books(self) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
        """Return the ledger: by peer, ``sent`` and ``received``, by channel."""
        mine: Books = {name: link.core.books() for name, link in self._links.items()}
        return joined(mine, self._forgotten.books(), mark="forgotten")

    def in_hand(self) -> list[tuple[str, str]]:
        """Return peer and channel of every message that is being handled or waits for it."""
        return [
            (name, channel)
            for name, link in self._links.items()
            for channel, inbox in link.inboxes.items()
            if inbox.in_hand
        ]

    def balanced(self) -> bool:
        """Say whether every line of every ledger balances."""
        links = all(link.core.balanced() for link in self._links.values())
        return links and self._forgotten.is_balanced()


class Dialler:
    """Keeps one link connected for as long as somebody wants it.

    Attributes:
        link: The link.

    """

    def __init__(
        self,
        link: LinkShell,
        name: str,
        where: str,
        dial: Dial,
        backoff: Backoff,
        notice: Callable[[str], None],
    ) -> None:
        self.link = link
        self._name = name
        self._where = where
        self._dial = dial
        self._backoff = backoff
        self._notice = notice
        self._own_name: str | None = None
        self._why = "not dialled yet"
        self._accepted = False
        self._fatal: Exception | None = None
        self._given_up = asyncio.Event()
        self._ended = False
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._awaited_since: float | None = None
        link.when_attached = self._attached
        self._task: asyncio.Task[None] = self._loop.create_task(self._keep_up(), name=f"dialler {name}")

    @property
    def has_ended(self) -> bool:
        """Whether it has given up dialling."""
        return self._ended

    @property
    def why_absent(self) -> str:
        """Why the peer was not there at the last try."""
        return self._why

    @property
    def was_accepted(self) -> bool:
        """Whether something answered at the last try, so that the peer is running."""
        return self._accepted

    @property
    def fatal(self) -> Exception | None:
        """Why it dials no more, if that is because another try would not help."""
        return self._fatal

    def turned_away(self, *, transmitted: bool = False) -> DeliveryError | None:
        """Return the error for a message when the peer refused the last connection for good, else ``None``.

        Args:
            transmitted: Whether the message had been sent over an earlier connection.

        """
        code, reason = self.link.refusal or ("", "")
        if code == "name-taken":
            return NameTakenError(self._name, self._where, reason, transmitted=transmitted)
        if code == "version":
            return VersionMismatchError(self._name, self._where, reason, transmitted=transmitted)
        return None

    async def first_contact(self, patience: float | None) -> LinkShell:
        """Return the link once it was attached for the first time.

        Raises:
            NotALinkError: If what listens there speaks no ``sketchmesh.v1``.
            NameTakenError: If the peer has a link with another process of our name.
            VersionMismatchError: If it speaks no version of the link that we speak.
            DeliveryError: If the peer refuses for good, or whatever else a dial raised.
            PeerDownError: If it was not there within the patience.

        """
        link = self.link
        if link.has_session():
            return link
        begin = self._loop.time()
        try:
            async with asyncio.timeout(patience):
                while not link.has_session():
                    if self._fatal is not None:
                        raise self._fatal
                    if self._ended or link.is_closed:
                        waited = self._loop.time() - begin
                        raise PeerDownError(self._name, self._where, waited, self._why, stopping=True)
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            waited = self._loop.time() - begin
            raise PeerDownError(self._name, self._where, waited, self._why, accepted=self._accepted) from None
        return link

    def give_up(self) -> None:
        """Try once more if it is not connected, and then no more."""
        self._given_up.set()

    async def close(self) -> None:
        """End the task."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_up(self) -> None:
        try:
            while not self.link.is_closed:
                last = self._given_up.is_set()
                if not await self._try() or last:
                    return
        except Exception as exc:
            # A mistake in what dials; whoever waits for the link is told.
            self._fatal = exc
        finally:
            self._ended = True
            self._news.set()
            if self._fatal is not None:
                self.link.core.turn_away()
                self.link.pump()

    async def _try(self) -> bool:
        """Dial once and serve the connection until it ends; return whether another try makes sense."""
        core, link = self.link.core, self.link
        if not link.may_dial():
            # The peer's own dial won; ours is not wanted while that one lives.
            await self._until_detached()
            return True
        try:
            transport = await self._dial()
        except AbsentError as exc:
            self._absent(str(exc), accepted=exc.accepted)
            await self._sleep()
            return True
        except DeliveryError as exc:
            # Until somebody asks again; it may be mended then, or another program.
            self._fatal = exc
            core.turn_away(str(exc))
            return False
        if not link.may_dial():
            transport.abort()
            return True
        begin = self._loop.time()
        core.dial(begin)
        reason = await link.run(transport)
        if link.refusal is not None:
            self._fatal = self.turned_away()
            if self._fatal is not None:
                if link.has_session():
                    # It was lost, and perhaps nobody has anything to send who would be told.
                    self._notice(str(self._fatal))
                return False
            code, words = link.refusal
            if code != "duplicate":
                self._absent(f"{code}: {words}", accepted=code != "closing")
            await self._sleep()
        elif self._loop.time() - begin > STEADY:
            self._backoff.reset()
        else:
            # Who takes every connection and drops it is as good as absent.
            self._why = reason
            self._accepted = True
            await self._sleep()
        return True

    def _attached(self) -> None:
        self._news.set()
        own = self.link.core.peer
        if own not in (self._name, self._own_name) and not self._where.endswith(f"//{self._name}/"):
            self._notice(f"{self._name} at {self._where} calls itself {own}")
        self._own_name = own
        if self._awaited_since is not None:
            waited = self._loop.time() - self._awaited_since
            self._awaited_since = None
            self._notice(f"{self._name} is there at {self._where}, after {waited:.1f} s")

    def _absent(self, why: str, *, accepted: bool) -> None:
        self._why = why
        self._accepted = accepted
        if self._awaited_since is None:
            self._awaited_since = self._loop.time()
            self._notice(
                f"waiting for {self._name} at {self._where} ({why}); will go on as soon as it is there"
            )

    async def _until_detached(self) -> None:
        given_up = self._loop.create_task(self._given_up.wait(), name=f"dialler {self._name} waits")
        try:
            waits: list[asyncio.Future[Any]] = [self.link.detached, given_up]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
        self._backoff.reset()

    async def _sleep(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._backoff.delay()):
                await self._given_up.wait()
