"""All links of one process: one for each peer, dialled or accepted."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from random import Random
from secrets import token_hex

from mesh.backoff import Backoff
from mesh.errors import PeerDownError, RemoteProtocolError
from mesh.links.asks import Budget
from mesh.links.dialler import Dial, Dialler
from mesh.links.inbox import Receiver
from mesh.links.shell import Follower, LinkShell
from mesh.protocol.books import Books, Forgotten, is_balanced, joined
from mesh.protocol.link import HelloTerms, Link, LinkSettings, read_hello, read_refusal, refusal
from mesh.text import printable
from mesh.transport.base import Transport, TransportClosedError
from mesh.transport.tapping import Tap, tap_of_process

HELLO_TIMEOUT = 5.0
"""Seconds that a dialler may take for its first frame."""

MOST_RECENT = 16
"""Peers that are gone for good, of those that went last, whose books are still kept apart."""

MAX_LINKS = 4096
"""Links of one process; one more peer is refused with ``too-many``."""

SOON = 2.0
"""Seconds for which a link without a connection is awaited by who could reach the peer at another address."""

MOST_TOLD = 256
"""Processes of which it is remembered that their refusal was told, for they may try again and again."""

Key = tuple[str, str]
"""A link of this process: what it calls the peer, and what tells it from others of that name.

Names are anybody's choice, so a link is never told from another one by its name alone. Nothing
but the name has the first link with a peer of that name; another address of the same name is told
by where it is, and a peer that came while ours of that name is another one by ``ACCEPTED``.
"""

ACCEPTED = "accepted"
"""Tells the link of a peer that calls itself as we call another one."""


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
        self._links: dict[Key, LinkShell] = {}
        self._dials: dict[Key, Dialler] = {}
        self._wheres: dict[Key, str] = {}
        # By name and address, which other link leads to the same process, as long as it is that one.
        self._same: dict[tuple[str, str], tuple[Key, LinkShell, str]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._asks = Budget()
        self.followers: list[Follower] = []
        self._forgotten = Forgotten(most_recent=MOST_RECENT)
        self._told: dict[tuple[str, str, str], None] = {}
        self._closing = False
        self._closed = False
        self._given_up = False
        self._wire: Tap | None = None

    # -- dialling ------------------------------------------------------------------------

    def dialler(self, name: str, where: str, dial: Dial) -> Dialler:
        """Return what keeps the link to a peer up; makes it when it is first asked for.

        Args:
            name: What we call the peer. It may call itself otherwise, which is told once.
            where: Its address, for people.
            dial: Opens a connection to it.

        After ``drain()`` it begins anew, for the last words of a worker; after ``close()``
        no more. A peer that was not there once the hub gave up is not dialled again.

        Raises:
            PeerDownError: If the hub is closed, or gave up on this peer.

        """
        if self._closed:
            raise PeerDownError(name, where, 0.0, "this worker has stopped", stopping=True)
        key = self._key(name, where)
        found = self._dials.get(key)
        if found is not None and found.was_in_vain:
            raise PeerDownError(name, where, 0.0, found.why_absent, stopping=True)
        if found is None or found.has_ended or found.link.is_closed:
            link = self._links.get(key)
            if link is None or link.is_closed:
                self._forget(key)
                if not self._make_room():
                    why = f"this process has {MAX_LINKS} links in use, which is all it may have"
                    raise PeerDownError(name, where, 0.0, why, stopping=True)
                link = self._links[key] = self._make(None, key)
            backoff = Backoff(self._random)
            found = self._dials[key] = Dialler(link, name, where, dial, backoff, self._notice, self)
            self._wheres[key] = where
            if self._given_up:
                found.give_up()
        return found

    def _key(self, name: str, where: str) -> Key:
        """Return which link is used for a peer at an address."""
        same = self._same.get((name, where))
        if same is not None:
            key, link, incarnation = same
            if (
                self._links.get(key) is link
                and self._leads_on(key)
                and link.core.peer_incarnation == incarnation
            ):
                return key
            # It was restarted, or is gone: who is at that address now is asked anew.
            del self._same[name, where]
        key = (name, "")
        if self._wheres.get(key, where) != where:
            key = (name, where)
        mine = self._links.get(key)
        if mine is not None and mine.transport is None and mine.core.session:
            # The same process may have been reached at another address meanwhile.
            other = self._find(mine.core.peer_incarnation, mine)
            if other is not None and self._links[other].transport is not None:
                return other
        return key

    def same(self, dialler: Dialler, incarnation: str) -> LinkShell | None:
        """Return the link that there is already with the process that answers a dialler.

        From then on whoever wants that dialler's peer gets that link, and the dialler ends.
        """
        found = self._find(incarnation, dialler.link)
        if found is None or not self._leads_on(found):
            return None
        for mine, one in list(self._dials.items()):
            if one is dialler:
                self._same[dialler.name, dialler.where] = (found, self._links[found], incarnation)
                if len(self._same) > MAX_LINKS:
                    del self._same[next(iter(self._same))]
                self._forget(mine)
                for follower in self.followers:
                    follower.found(self._links[found])
                return self._links[found]
        return None

    def _find(self, incarnation: str, but: LinkShell | None = None) -> Key | None:
        """Return which link is one with that very process, rather one that is connected."""
        found = None
        for key, link in self._links.items():
            core = link.core
            if core.peer_incarnation == incarnation and core.session and link is not but:
                if link.transport is not None:
                    return key
                found = key
        return found

    def _leads_on(self, key: Key) -> bool:
        """Say whether a link is connected, or will be in a moment as far as is known."""
        link, dialler = self._links[key], self._dials.get(key)
        if not link.has_session() or link.is_closed:
            return False
        away = asyncio.get_running_loop().time() - link.detached_at
        return link.transport is not None or (dialler is not None and not dialler.has_ended and away < SOON)

    def _make(self, peer: str | None, key: Key) -> LinkShell:
        now = asyncio.get_running_loop().time()
        core = Link(self.name, self.incarnation, now, peer=peer, settings=self._settings)
        link = LinkShell(core, self._receiver, lambda state, reason: self._changed(key[0], state, reason))
        link.asks.budget = self._asks
        link.called = key[0]
        link.followers = self.followers
        link.when_over = lambda: self._over(key, link)
        return link

    def _over(self, key: Key, link: LinkShell) -> None:
        dialler = self._dials.get(key)
        if self._links.get(key) is link and link.is_over and (dialler is None or dialler.has_ended):
            self._forget(key)

    def _forget(self, key: Key) -> None:
        """Drop a link that nobody needs any more, and its tasks."""
        link = self._links.pop(key, None)
        dialler = self._dials.pop(key, None)
        self._wheres.pop(key, None)
        if link is None:
            return
        # What is subscribed to goes on, with its line, over the next link.
        self._forgotten.add(
            _words(key), {way: lines for way, lines in link.books().items() if way != "subscribed"}
        )

        async def end() -> None:
            if dialler is not None:
                await dialler.close()
            await link.shut()

        task = asyncio.get_running_loop().create_task(end(), name=f"end of the link to {key[0]}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _make_room(self) -> bool:
        """Return whether there is room for one more link; drop what nobody would miss if there is none."""
        if len(self._links) >= MAX_LINKS:
            for key, link in list(self._links.items()):
                self._over(key, link)
        if len(self._links) >= MAX_LINKS:
            # Of what only waits for its peer that which has waited longest, first if we dial it not.
            spare = [
                (dialler is not None, link.detached_at, key)
                for key, link in self._links.items()
                if link.is_spare and ((dialler := self._dials.get(key)) is None or not dialler.is_wanted)
            ]
            if spare:
                self._forget(min(spare)[2])
        return len(self._links) < MAX_LINKS

    def link(self, name: str, where: str = "") -> LinkShell | None:
        """Return the link with a peer, if there is one.

        Args:
            name: What we call the peer.
            where: Its address; empty for a peer that comes by itself.

        """
        return self._links.get(self._key(name, where) if where else (name, ""))

    def moved(self, name: str, before: str, where: str, dial: Dial) -> None:
        """Dial a peer at another address from now on, over the link that there is.

        What is not acknowledged goes to whoever answers there.

        Args:
            name: What we call the peer.
            before: Its address until now.
            where: Its address from now on.
            dial: Opens a connection to it there.

        """
        key = (name, "")
        if self._wheres.get(key) == before:
            self._wheres[key] = where
            if (dialler := self._dials.get(key)) is not None:
                dialler.moved(where, dial)

    # -- accepting -----------------------------------------------------------------------

    async def accept(self, transport: Transport) -> str:
        """Serve a connection that a peer has opened, until it ends.

        Returns:
            Why it ended, for people.

        """
        self.on_wire(transport)
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
        key = self._key_of(hello)
        link, is_new = self._links.get(key), False
        if link is None or link.is_closed:
            if self._closing:
                await self._refuse(transport, refusal("closing", f"{self.name} is going away"))
                return "this worker is stopping"
            if not self._make_room():
                full = refusal("too-many", f"{self.name} has {MAX_LINKS} links")
                self._tell(hello, transport.peer, full)
                await self._refuse(transport, full)
                return "too many links"
            self._forget(key)
            link, is_new = self._make(hello.name, key), True
        no = link.core.accept(hello, asyncio.get_running_loop().time(), session=token_hex(8))
        if no is not None:
            self._tell(hello, transport.peer, no)
            await self._refuse(transport, no)
            return f"{hello.name} was refused"
        if is_new:
            # Not before: a stranger who is refused leaves nothing behind.
            self._links[key] = link
        return await link.run(transport)

    def _key_of(self, hello: HelloTerms) -> Key:
        """Return which link is that of who says hello."""
        known = self._find(hello.incarnation)
        if known is not None and self._links[known].core.peer == hello.name:
            return known  # whatever we call it
        link = self._links.get((hello.name, ""))
        if link is not None and link.core.peer not in (None, hello.name):
            # Dialled under that name, and another one answered: that link is not this peer's.
            return hello.name, ACCEPTED
        return hello.name, ""

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

    # -- the wire --------------------------------------------------------------------------

    def tap(self, tap: Tap | None) -> None:
        """Let a tap see the connections of every link, those to come as well.

        Args:
            tap: The tap; ``None`` for that of the process, if it has one.

        """
        self._wire = tap
        for link in self._links.values():
            if link.transport is not None:
                link.transport.tap(tap or tap_of_process())

    def on_wire(self, transport: Transport) -> None:
        """Let the tap see a connection that has just begun."""
        if self._wire is not None:
            transport.tap(self._wire)

    # -- the whole -------------------------------------------------------------------------

    def give_up(self) -> None:
        """Wait for absent peers no longer: what waits for them fails."""
        self._given_up = True
        for dialler in self._dials.values():
            dialler.give_up()

    def refuse_asks(self) -> bool:
        """Answer no new asks; return whether there are some that ``end_asks()`` should end."""
        self._asks.is_closed = True
        return any(link.asks.in_hand for link in self._links.values())

    async def end_asks(self, grace: float) -> None:
        """Answer no new asks, and those there are only for ``grace`` seconds more."""
        self._asks.is_closed = True
        await asyncio.gather(*(link.asks.finish(grace) for link in self._links.values()))

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
        return joined(self._books_of_links(), self._forgotten.books(), mark="forgotten")

    def _books_of_links(self) -> Books:
        return {_words(key): link.books() for key, link in self._links.items()}

    def peers(self) -> list[dict[str, object]]:
        """Return what is known of each link: the peer, where it is, and whether messages flow."""
        known: list[dict[str, object]] = []
        for key, link in self._links.items():
            dialler = self._dials.get(key)
            transport = link.transport
            known.append(
                {
                    "peer": _words(key),
                    "name": link.core.peer,
                    "state": "up" if link.is_attached else "down",
                    "where": self._wheres.get(key) or (transport.peer if transport is not None else None),
                    "dialled": dialler is not None,
                    "why": None if link.is_attached or dialler is None else dialler.why_absent,
                }
            )
        return known

    def whence(self, peer: str) -> list[str]:
        """Return from where all that call themselves so are connected now."""
        return [
            link.transport.peer
            for link in self._links.values()
            if link.core.peer == peer and link.transport is not None
        ]

    def in_hand(self) -> list[tuple[str, str]]:
        """Return peer and channel of every message that is being handled or waits for it."""
        return [
            (_words(key), channel)
            for key, link in self._links.items()
            for channel, inbox in link.inboxes.items()
            if inbox.in_hand
        ] + [(_words(key), channel) for key, link in self._links.items() for channel in link.asks.in_hand]

    def balanced(self) -> bool:
        """Say whether every line of every ledger balances."""
        return is_balanced(self._books_of_links()) and self._forgotten.is_balanced()


def _words(key: Key) -> str:
    """Return how the books call a link, so that no peer's own name reads as what is ours to say."""
    called, how = key
    if _OURS.intersection(called):
        called = json.dumps(called, ensure_ascii=False)
    return f"{called} ({how})" if how else called


_OURS = frozenset('()"')
