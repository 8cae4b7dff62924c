"""Asks on one link, both ways: who asks here, and the generators that answer the peer.

What may happen when, at the answering end, says ``mesh.protocol.asking``; here and in the two
modules beside this one are the tasks, the waits and the link. Rules:

- *Nothing here waits for a handler.* An ask is accepted or refused when it comes, and answered by a
  task of its own, so that any number of them run at once. Their number is bounded, for each link and
  for the whole process.
- *An ask belongs to a session* and ends with it, at both ends.
- *A part is acknowledged when its consumer takes it*, which is what keeps the generator from running
  ahead. A consumer that has left refuses what still comes, and so does a process that knows nothing
  of the ask; either ends the generator, even if ``$cancel`` was lost.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mesh.links.answering import Answering, Cancels
from mesh.links.asking import Asking, Explain
from mesh.protocol.asking import ASK, CANCEL, GONE, MOST_ID, PART, Question
from mesh.protocol.values import Refusal

if TYPE_CHECKING:
    from mesh.links.shell import LinkShell
    from mesh.protocol.link.inbound import Inbound

MOST_OF_LINK: Final = 256
"""Asks of one peer that are answered at once."""

MOST_OPEN: Final = 8192
"""Channels with messages that a peer has not answered, from which on its asks are refused."""

MOST_OF_PROCESS: Final = 1024
"""Asks of all peers that are answered at once."""

STOPPING: Final = "WorkerStoppingError"
"""The type of the error that ends the parts of a worker that stops."""


class Budget:
    """How many asks may still be answered at once by all links of a process.

    Args:
        most: The limit.

    Attributes:
        left: How many more.
        is_closed: Whether no new ones are answered any more, because the process stops.

    """

    def __init__(self, most: int = MOST_OF_PROCESS) -> None:
        self.left = most
        self.is_closed = False

    def take(self) -> bool:
        """Return whether there is room for one more, and take it."""
        if self.left <= 0:
            return False
        self.left -= 1
        return True

    def give_back(self) -> None:
        """One is over."""
        self.left += 1


class Asks:
    """The asks of one link.

    Args:
        shell: The link.

    Attributes:
        budget: How many more may be answered; hubs put one for all their links here.

    """

    def __init__(self, shell: LinkShell) -> None:
        self.budget = Budget()
        self._shell = shell
        self._asking: dict[str, Asking] = {}
        self._answering: dict[str, Answering] = {}
        self._all: set[Answering] = set()  # those of former sessions included
        self._closed = False
        self._asked = 0

    # -- asking

    def ask(
        self,
        channel: str,
        msg: object,
        *,
        peer: str,
        patience: float | None,
        explain: Explain,
    ) -> Asking:
        """Ask the peer.

        Args:
            channel: Whose handler at the peer is asked.
            msg: The message for it.
            peer: What the user calls the peer, for errors.
            patience: Seconds that it may be absent, before it has accepted and later on.
            explain: Turns a failure into the error that the user gets.

        Raises:
            PayloadError: If the message cannot be sent.
            FrameTooLargeError: If it is larger than the peer takes.
            Exception: What ``explain`` says of a link that is closing.

        """
        self._asked += 1
        question = Question(f"{self._asked:x}", channel, msg)
        asking = Asking(self._shell, self, question, peer, patience, explain)
        asking.begin()
        return asking

    def enter(self, asking: Asking) -> None:
        """Route parts to who asked."""
        self._asking[asking.id] = asking
        self._shell.inboxes[asking.channel] = asking

    def leave(self, asking: Asking) -> None:
        """Route them there no longer."""
        if self._asking.get(asking.id) is asking:
            del self._asking[asking.id]
            del self._shell.inboxes[asking.channel]

    # -- what the link says

    def take(self, channel: str, work: Inbound, items: list[Any]) -> bool:
        """Take messages of channels that have no inbox; return whether they were for us."""
        if channel == ASK:
            for item in items:
                self._question(work, item)
        elif channel == CANCEL:
            cancels = self._shell.inboxes[CANCEL] = Cancels(self._shell, self._cancel)
            cancels.put(work, items)
        elif channel.startswith(PART):
            core = self._shell.core
            core.nack(work, *GONE, self._shell.time(), count=len(items))
        else:
            return False
        return True

    def session_ended(self) -> None:
        """What was accepted in it ends with it."""
        for asking in list(self._asking.values()):
            asking.session_ended()
        for answering in list(self._answering.values()):
            answering.stop()
        self._answering.clear()

    def detached(self) -> None:
        """The connection is gone."""
        for asking in self._asking.values():
            asking.peer_went()

    def attached(self) -> None:
        """The peer is there."""
        for asking in self._asking.values():
            asking.peer_came()

    def peer_leaves(self) -> None:
        """The peer takes no more of our messages, and has sent all of its own."""
        for asking in self._asking.values():
            asking.hurry()
        for answering in list(self._answering.values()):
            answering.stop()

    # -- answering

    def _question(self, work: Inbound, item: Any) -> None:
        refusal = self._answer(item)
        core, now = self._shell.core, self._shell.time()
        if refusal is None:
            core.ack(work, [None], now)
        else:
            core.nack(work, refusal.type.lstrip("!"), refusal.message, now)

    def _answer(self, item: Any) -> Refusal | None:
        shell = self._shell
        try:
            question = msgspec.convert(item, Question)
        except msgspec.ValidationError as exc:
            return Refusal("ValueError", f"a question is a map of id, channel and msg: {exc}")
        if not 0 < len(question.id) <= MOST_ID:
            return Refusal("ValueError", f"an id has 1 to {MOST_ID} characters, not {len(question.id)}")
        if question.id in self._answering:
            return Refusal("ValueError", f"the id {question.id!r} is in use in this session")
        if self._closed or self.budget.is_closed:
            return Refusal(STOPPING, f"{shell.core.name} is stopping")
        if len(self._answering) >= MOST_OF_LINK:
            return Refusal(
                "TooManyAsksError", f"{shell.core.name} answers {MOST_OF_LINK} asks of one peer at once"
            )
        if shell.core.open_senders >= MOST_OPEN:
            return Refusal("TooManyAsksError", "the parts of very many former asks are not acknowledged")
        if not self.budget.take():
            return Refusal("TooManyAsksError", f"{shell.core.name} has no room for one more ask")
        try:
            parts = shell.receiver.asked(shell.core.peer or "", question.channel, question.msg)
        except Exception as exc:
            parts = Refusal(type(exc).__name__, str(exc))
        if isinstance(parts, Refusal):
            self.budget.give_back()
            return parts
        answering = Answering(shell, question, parts, self._over)
        self._answering[question.id] = answering
        self._all.add(answering)
        return None

    def _over(self, answering: Answering) -> None:
        self.budget.give_back()
        self._all.discard(answering)
        if self._answering.get(answering.id) is answering:
            del self._answering[answering.id]

    def _cancel(self, id: str) -> asyncio.Task[None] | None:
        """End an ask of the peer; return the task to wait for, ``None`` if there is no such ask."""
        answering = self._answering.get(id)
        if answering is None:
            return None
        answering.stop()
        return answering.task

    @property
    def in_hand(self) -> list[str]:
        """The channels of those whose generator runs."""
        return [answering.asked for answering in self._all if not answering.task.done()]

    # -- the end

    async def finish(self, grace: float) -> None:
        """Take no new asks of the peer, and let those there are end; after ``grace`` seconds end them."""
        self._closed = True
        if running := self._running():
            await asyncio.wait([answering.task for answering in running], timeout=grace)
        while running := self._running():
            for answering in running:
                answering.abort(STOPPING, f"{self._shell.core.name} stops before it is done")
            await asyncio.wait([answering.task for answering in running])

    def _running(self) -> list[Answering]:
        return [answering for answering in self._all if not answering.task.done()]

    def close(self) -> list[asyncio.Task[None]]:
        """The link is being closed: end everything, and return the tasks to wait for."""
        self._closed = True
        for asking in list(self._asking.values()):
            asking.link_closes()
        for answering in list(self._all):
            answering.stop()
        return [answering.task for answering in self._all]
