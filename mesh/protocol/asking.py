"""Asking: one message, many parts as its answer. The answering end of one such ask, without sockets.

An ask is a message on ``$ask``, a map of ``id``, ``channel`` and ``msg``; its acknowledgement, nil,
means that it is accepted. Its parts come back as messages on ``$part/ID``, each acknowledged with
nil when its consumer has taken it. ``$cancel`` with the ``id`` ends it early.

Theory of operation. A generator makes the parts; this says what may be sent and when the generator
is to be ended. What can happen, and what is done about it:

=========== ============================ =============== ================= ==============
state       gave (only with room)        finished/raised abort             stop
=========== ============================ =============== ================= ==============
running     send the part                send the end,   send the error,   → stopping
                                         → over          → stopping
stopping    nothing                      → over          nothing           nothing
over        (a mistake)                  (a mistake)     nothing           nothing
=========== ============================ =============== ================= ==============

``stopping`` lasts until the generator's ``finally`` has run. So at most one end is sent, and none
to who has cancelled. There is room while fewer than ``MOST_UNTAKEN`` parts wait to be taken; ends
need none.
"""

from __future__ import annotations

import enum
from typing import Any, Final

from msgspec import Struct

from mesh.errors import LocalProtocolError

ASK: Final = "$ask"
"""The channel of questions."""

CANCEL: Final = "$cancel"
"""The channel of those that end one early."""

PART: Final = "$part/"
"""What the channels of the parts begin with; the id follows."""

MOST_UNTAKEN: Final = 64
"""Parts of one ask that may wait to be taken."""

MOST_ID: Final = 128
"""Characters of an id."""

GONE: Final = ("LookupError", "nobody takes the parts of this ask any more")
"""Type and text of the refusal of a part that comes too late."""

Item = tuple[int, object] | tuple[int] | tuple[int, str, str]
"""What travels on a channel of parts: a part, the end, or the error that is the end."""

VALUE: Final = 0
END: Final = 1
ERROR: Final = 2


class Question(Struct):
    """What an ask holds.

    Attributes:
        id: Text that no other ask of the session has.
        channel: Whose handler is asked.
        msg: The message for it.

    """

    id: str
    channel: str
    msg: Any = None


class State(enum.Enum):
    """Where the answering end of an ask stands."""

    RUNNING = "running"
    STOPPING = "stopping"
    OVER = "over"


class Reply:
    """The answering end of one ask.

    Attributes:
        state: Where it stands.
        untaken: Parts that were sent and not taken yet.

    """

    __slots__ = ("state", "untaken")

    def __init__(self) -> None:
        self.state = State.RUNNING
        self.untaken = 0

    @property
    def has_room(self) -> bool:
        """Whether the next part may be given, or the generator is to be left."""
        return self.untaken < MOST_UNTAKEN or self.state is not State.RUNNING

    # -- what the generator does

    def gave(self, value: object) -> Item | None:
        """Return what to send of a part.

        Raises:
            LocalProtocolError: If there is no room for it, or the generator has ended.

        """
        if self.state is State.STOPPING:
            return None
        if self.state is State.OVER or not self.has_room:
            raise LocalProtocolError(f"a part was given to an ask that is {self.state.value}")
        self.untaken += 1
        return (VALUE, value)

    def finished(self) -> Item | None:
        """Return what to send now that the generator, its ``finally`` included, has ended."""
        return self._over((END,))

    def raised(self, type: str, message: str) -> Item | None:
        """Return what to send now that the generator has ended with an error."""
        return self._over((ERROR, type, message))

    def _over(self, end: Item) -> Item | None:
        was, self.state = self.state, State.OVER
        if was is State.OVER:
            raise LocalProtocolError("an ask ended twice")
        return end if was is State.RUNNING else None

    # -- what others want

    def stop(self) -> bool:
        """Nobody wants more: return whether the generator is to be ended now."""
        if self.state is not State.RUNNING:
            return False
        self.state = State.STOPPING
        return True

    def abort(self, type: str, message: str) -> Item | None:
        """Return what to send; unless that is nothing, the generator is to be ended now."""
        return (ERROR, type, message) if self.stop() else None

    def taken(self, count: int) -> None:
        """The consumer has taken parts, or has no use for them."""
        self.untaken -= min(count, self.untaken)


class Took(enum.Enum):
    """What an item on a channel of parts is."""

    PART = "part"
    END = "end"
    ERROR = "error"
    NONSENSE = "nonsense"


def read_item(item: object) -> Took:
    """Say what an item is, so that its fields may be used."""
    match item:
        case [0, _]:
            return Took.PART
        case [1]:
            return Took.END
        case [2, str(), str()]:
            return Took.ERROR
    return Took.NONSENSE


def part_channel(id: str) -> str:
    """Return the channel of an ask's parts."""
    return PART + id
