"""Who keeps one link connected: dials, waits, and dials again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from mesh.backoff import Backoff
from mesh.dialling import AbsentError
from mesh.errors import DeliveryError, NameTakenError, PeerDownError, VersionMismatchError
from mesh.links.shell import LinkShell
from mesh.transport.base import Transport

STEADY = 1.0
"""Seconds that a connection must have held to be dialled again at once."""

LINGER = 60.0
"""Seconds for which a peer is dialled that nobody waits for and that has no session with us."""

_UNTRIED = "not dialled yet"

Dial = Callable[[], Awaitable[Transport]]


class Same(Protocol):
    """Who knows all links of this process."""

    def same(self, dialler: Dialler, incarnation: str) -> LinkShell | None:
        """Return the link that there is already with the process that answers a dialler.

        From then on whoever wants that dialler's peer gets that link, and the dialler ends.
        """

    def on_wire(self, transport: Transport) -> None:
        """Let whoever watches the wire see a connection that has just begun."""


class Dialler:
    """Keeps one link connected for as long as somebody wants it.

    Attributes:
        name: What we call the peer.
        where: Its address, for people.
        link: The link; another one once it turned out that there is one with that process already.

    """

    def __init__(
        self,
        link: LinkShell,
        name: str,
        where: str,
        dial: Dial,
        backoff: Backoff,
        notice: Callable[[str], None],
        hub: Same,
    ) -> None:
        self.link = link
        self._hub = hub
        self._waiters = 0
        self.name = name
        self.where = where
        self._dial = dial
        self._backoff = backoff
        self._notice = notice
        self._own_name: str | None = None
        self._dialled: Transport | None = None
        self._why = _UNTRIED
        self._accepted = False
        self._is_absent = False
        self._fatal: Exception | None = None
        self._given_up = asyncio.Event()
        self._ended = False
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._awaited_since: float | None = None
        self._useless_since = self._loop.time()
        link.when_attached = self._attached
        self._task: asyncio.Task[None] = self._loop.create_task(self._keep_up(), name=f"dialler {name}")

    @property
    def has_ended(self) -> bool:
        """Whether it has given up dialling."""
        return self._ended

    @property
    def was_in_vain(self) -> bool:
        """Whether it was given up, and the peer was not there at the last try: no other one is of use."""
        return self._ended and self._is_absent and self._given_up.is_set()

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for the first contact, or the link is of use."""
        return self._waiters > 0 or not self.link.is_spare

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
            return NameTakenError(self.name, self.where, reason, transmitted=transmitted)
        if code == "version":
            return VersionMismatchError(self.name, self.where, reason, transmitted=transmitted)
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
        self._waiters += 1
        try:
            async with asyncio.timeout(patience):
                while not self.link.has_session():
                    if self._fatal is not None:
                        raise self._fatal
                    if self._ended or self.link.is_closed:
                        waited = self._loop.time() - begin
                        raise PeerDownError(self.name, self.where, waited, self._why, stopping=True)
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            waited = self._loop.time() - begin
            raise PeerDownError(self.name, self.where, waited, self._why, accepted=self._accepted) from None
        finally:
            self._waiters -= 1
        return self.link

    async def until_ended(self, news: asyncio.Future[None], timeout: float) -> None:
        """Return when it dials no more, when there are news, or after so many seconds."""
        await asyncio.wait([self._task, news], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)

    def give_up(self) -> None:
        """Try once more if it is not connected, and then no more."""
        self._given_up.set()

    def moved(self, where: str, dial: Dial) -> None:
        """Dial another address from now on, and leave a connection that was dialled at the old one."""
        self.where = where
        self._dial = dial
        self._backoff.reset()
        if self._dialled is not None:
            self._dialled.abort()

    async def close(self) -> None:
        """End the task."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_up(self) -> None:
        try:
            while not self.link.is_closed and not self._is_useless():
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
            elif self._is_useless():
                self.link.when_over()

    def _is_useless(self) -> bool:
        """Say whether nobody has wanted this peer for a while, which is not there either."""
        now = self._loop.time()
        if self._waiters or not self.link.is_over:
            self._useless_since = now
        return now - self._useless_since > LINGER

    def _follow(self, incarnation: str) -> bool:
        """Use the link that there is already with the process that answered, if there is one."""
        same = self._hub.same(self, incarnation)
        if same is None:
            return False
        self.link = same
        self._why = "the connection was lost"
        self._news.set()
        return True

    async def _try(self) -> bool:
        """Dial once and serve the connection until it ends; return whether another try makes sense."""
        core, link = self.link.core, self.link
        if not link.may_dial():
            # The peer's own dial won; ours is not wanted while that one lives.
            await self._until_detached()
            return True
        if self._why == _UNTRIED:
            # Unless the try ends and tells more, this is what is wrong.
            self._why = "it does not answer"
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
        self._is_absent = False
        begin = self._loop.time()
        self._hub.on_wire(transport)
        core.dial(begin)
        self._dialled = transport
        try:
            reason = await link.run(transport)
        finally:
            self._dialled = None
        self._useless_since = self._loop.time()
        if self.link is not link:
            return False
        if link.refusal is not None:
            self._fatal = self.turned_away()
            if self._fatal is not None:
                if link.has_session():
                    # It was lost, and perhaps nobody has anything to send who would be told.
                    self._notice(str(self._fatal))
                return False
            code, words = link.refusal
            if code == "duplicate":
                if self._follow(words):
                    return False
            else:
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
        if self._follow(self.link.core.peer_incarnation):
            return
        self._news.set()
        own = self.link.core.peer
        if own not in (self.name, self._own_name) and not self.where.endswith(f"//{self.name}/"):
            self._notice(f"{self.name} at {self.where} calls itself {own}")
        self._own_name = own
        if self._awaited_since is not None:
            waited = self._loop.time() - self._awaited_since
            self._awaited_since = None
            self._notice(f"{self.name} is there at {self.where}, after {waited:.1f} s")

    def _absent(self, why: str, *, accepted: bool) -> None:
        self._why = why
        self._accepted = accepted
        self._is_absent = True
        if self._awaited_since is None and not self._given_up.is_set():
            self._awaited_since = self._loop.time()
            self._notice(
                f"waiting for {self.name} at {self.where} ({why}); will go on as soon as it is there"
            )

    async def _until_detached(self) -> None:
        given_up = self._loop.create_task(self._given_up.wait(), name=f"dialler {self.name} waits")
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
