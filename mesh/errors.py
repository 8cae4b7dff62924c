"""Every error that the mesh raises.

The tree, with the builtin that each one also is::

    MeshError
      GridError (ValueError)
        UnknownNodeError (LookupError)
        NotAServerError
      ProtocolError
        LocalProtocolError
        RemoteProtocolError
      DeliveryError
        NackedError
        AckTimeoutError (TimeoutError)
        PeerDownError (ConnectionError)
        NameTakenError (ConnectionError)
        VersionMismatchError (ConnectionError)
        OutcomeUnknownError
        FrameTooLargeError (ValueError)
      RingError
        NoReceiptError (TimeoutError)
        RingLeftError (ConnectionError)
      PayloadError (ValueError)
      LineTooLongError (ValueError)
      ServeError (OSError)
      CertificateError (ValueError)

An error says what happened, where and what to do next, and keeps its facts as
attributes so that a program need not read the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class MeshError(Exception):
    """Base of every error that ``mesh`` raises on purpose."""


@dataclass(frozen=True, slots=True)
class GridProblem:
    """One mistake in a grid.

    Attributes:
        file: Path of the grid as the user would write it.
        line: Line of the mistake, counted from 1.
        column: Column of the mistake, counted from 1.
        what: What is wrong.
        fix: What would be right.

    """

    file: str
    line: int
    column: int
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.what}; {self.fix}"


class GridError(MeshError, ValueError):
    """A grid cannot be used.

    Attributes:
        problems: Every mistake that was found, in the order of the file. Empty
            when the grid could not be read at all.

    """

    def __init__(self, message: str, problems: Sequence[GridProblem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class UnknownNodeError(GridError, LookupError):
    """No node of the grid has that name or alias.

    Attributes:
        name: The name that was asked for.
        suggestion: The closest name there is, or ``None``.

    """

    def __init__(self, name: str, message: str, *, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.name = name
        self.suggestion = suggestion


class NotAServerError(GridError):
    """A node without a port was dialled; it is a client and listens nowhere.

    Attributes:
        name: The node that has no port.

    """

    def __init__(self, name: str) -> None:
        super().__init__(
            f"node {name!r} has no port, so nobody can dial it; "
            f"give it a `port:` in grid.yaml if it is meant to serve"
        )
        self.name = name


class ProtocolError(MeshError):
    """The link protocol was broken; the subclass says by whom."""


class LocalProtocolError(ProtocolError):
    """This side asked the link for something its state does not allow: a mistake of ours."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol; the link's session with it is over."""


class DeliveryError(MeshError):
    """A message did not get its acknowledgement.

    Attributes:
        peer: Name of the node that the message was for.
        acks: In a stream, what was acknowledged before this message.

    """

    def __init__(self, peer: str, message: str) -> None:
        super().__init__(message)
        self.peer = peer
        self.acks: list[object] = []


class NackedError(DeliveryError):
    """The peer's handler refused the message.

    Attributes:
        type: Name of the error's type at the peer, for example ``ValueError``.
        reason: The peer's own words.

    """

    def __init__(self, peer: str, type: str, reason: str) -> None:
        super().__init__(peer, f"{peer} refused the message: {type}: {reason}")
        self.type = type
        self.reason = reason


class AckTimeoutError(DeliveryError, TimeoutError):
    """The peer did not answer in time after the message was sent; whether it was handled is unknown.

    Attributes:
        waited: Seconds from the first transmission until the message was given up; of one that
            was not sent, seconds that it waited for messages given up before it.
        transmitted: Whether the message had been sent, so that its outcome is
            unknown; ``False`` means that it certainly was not handled.

    """

    def __init__(self, peer: str, waited: float, *, transmitted: bool = True) -> None:
        hint = "give the handler more time with a longer timeout, or make it faster"
        if transmitted:
            what = (
                f"did not answer within {waited:.1f} s of the message being sent; "
                f"it may or may not have been handled"
            )
        else:
            what = (
                f"has not answered any of the messages before this one, which waited {waited:.1f} s and was "
                f"not sent, for they fill the window"
            )
        super().__init__(peer, f"{peer} {what}; {hint}")
        self.waited = waited
        self.transmitted = transmitted


class PeerDownError(DeliveryError, ConnectionError):
    """The peer could not be reached, or did not come back, in time.

    Attributes:
        waited: Seconds that were spent waiting for it.
        transmitted: Whether the message had been sent, so that its outcome is
            unknown; ``False`` means that it certainly was not handled.
        why: Why it was not there at the last try.
        accepted: Whether something answered there, so that it is running.

    Args:
        peer: Name of the node.
        uri: Where it was looked for.
        waited: Seconds that were spent waiting for it.
        why: Why it was not there at the last try.
        transmitted: Whether the message had been sent.
        stopping: Whether the wait was given up because this worker stops.
        accepted: Whether something answered there, so that it is running.

    """

    def __init__(
        self,
        peer: str,
        uri: str,
        waited: float,
        why: str,
        *,
        transmitted: bool = False,
        stopping: bool = False,
        accepted: bool = False,
    ) -> None:
        if stopping:
            when = f"after {waited:.1f} s" if waited >= 0.05 else "at once"
            words = f"stopped waiting for {peer} at {uri} {when} ({why})"
        elif transmitted:
            words = f"no answer came from {peer} at {uri} within {waited:.1f} s ({why})"
        else:
            words = f"{peer} could not be reached at {uri} within {waited:.1f} s ({why})"
        if transmitted:
            words += "; the message was sent, so it may or may not have been handled"
        elif accepted and not stopping:
            words += "; it is running, so see there why it does not take the connection"
        elif not stopping:
            words += "; is it running? start it, or correct its host and port in the grid"
        super().__init__(peer, words)
        self.waited = waited
        self.transmitted = transmitted
        self.why = why
        self.accepted = accepted


_SENT_BEFORE = "; the message was sent before, so it may or may not have been handled"


class NameTakenError(DeliveryError, ConnectionError):
    """The name under which this process sends belongs to another one that is alive.

    Attributes:
        reason: Which name, and whose, in the peer's own words.
        transmitted: Whether the message had been sent over an earlier connection, so that its
            outcome is unknown; ``False`` means that it certainly was not handled.

    """

    def __init__(self, peer: str, uri: str, reason: str, *, transmitted: bool = False) -> None:
        super().__init__(
            peer,
            f"{peer} at {uri} refuses a link with this process ({reason}); give one of the two "
            f"a name of its own, or stop the other one{_SENT_BEFORE if transmitted else ''}",
        )
        self.reason = reason
        self.transmitted = transmitted


class VersionMismatchError(DeliveryError, ConnectionError):
    """The peer's sketchmesh and ours have no version of the link in common.

    Attributes:
        reason: What each of the two speaks, in the peer's own words.
        transmitted: Whether the message had been sent over an earlier connection, so that its
            outcome is unknown; ``False`` means that it certainly was not handled.

    """

    def __init__(self, peer: str, uri: str, reason: str, *, transmitted: bool = False) -> None:
        super().__init__(
            peer,
            f"{peer} at {uri} refuses a link with this process ({reason}); "
            f"bring the older of the two up to date{_SENT_BEFORE if transmitted else ''}",
        )
        self.reason = reason
        self.transmitted = transmitted


class OutcomeUnknownError(DeliveryError):
    """The message was sent, and nobody can tell any more whether it was handled."""

    def __init__(self, peer: str, why: str) -> None:
        super().__init__(
            peer,
            f"the message was sent to {peer}, but its answer will not come ({why}); "
            f"it may or may not have been handled",
        )


class FrameTooLargeError(DeliveryError, ValueError):
    """A message is larger than the peer takes, so it was not sent.

    Attributes:
        size: Bytes of the message when encoded; ``None`` if it was encoded before the peer
            was known, and is too large for this one.
        limit: Most bytes the peer takes, or ``None`` likewise.

    """

    def __init__(self, size: int | None = None, limit: int | None = None, *, peer: str = "") -> None:
        if size is None or limit is None:
            words = f"the message is larger than {peer or 'the peer'} takes; split it"
        else:
            words = f"a message of {size} bytes is larger than the {limit} that the peer takes; split it"
        super().__init__(peer, words)
        self.size = size
        self.limit = limit


class RingError(MeshError):
    """A message did not come round.

    Attributes:
        group: Name of the ring.

    """

    def __init__(self, group: str, message: str) -> None:
        super().__init__(message)
        self.group = group


class NoReceiptError(RingError, TimeoutError):
    """The receipt did not come in time; some members may have taken the message, and it may still come round.

    Attributes:
        waited: Seconds since it was circulated.

    """

    def __init__(self, group: str, waited: float) -> None:
        super().__init__(
            group,
            f"a message was not round the ring {group} within {waited:.1f} s, but some may have taken it; "
            f"look with `mesh ring` whether the ring is closed and which handler is slow, or be more patient",
        )
        self.waited = waited


class RingLeftError(RingError, ConnectionError):
    """This member leaves the ring, or has left it, before the receipt was there."""

    def __init__(self, group: str) -> None:
        super().__init__(
            group,
            f"this member leaves the ring {group}; what has no receipt may have been taken by some members; "
            f"circulate it before the worker stops",
        )


class PayloadError(MeshError, ValueError):
    """A value cannot be sent, or a message is not of the type its handler asked for."""


class LineTooLongError(MeshError, ValueError):
    """A peer that speaks lines sent one with more bytes than a line may have.

    Attributes:
        size: Bytes of the line that had come.
        limit: Bytes that a line may have.
        lines: The lines that came whole in the same read, before it.

    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"a line is longer than {limit} bytes ({size} of it came); send shorter lines, "
            f"or raise max_line of the door in the grid, or of the LineProtocol"
        )
        self.size = size
        self.limit = limit
        self.lines: list[bytes] = []


class CertificateError(MeshError, ValueError):
    """A certificate, its key or an authority cannot be used."""


class ServeError(MeshError, OSError):
    """A worker cannot listen where it was told to."""
