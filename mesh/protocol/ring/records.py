"""Records and frames of a ring: what crosses the wire, and the strict reading of it.

A frame is one MessagePack array of records. Messages inside a ``RUN`` stay encoded: who only
passes them on never looks into them. Whatever does not fit is a ``RemoteProtocolError``; no
other exception leaves this module, whatever the bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from mesh.errors import RemoteProtocolError
from mesh.protocol.link.records import Text, array_head, clip, too_many_containers

SUBPROTOCOL: Final = "sketchmesh-ring.v1"
VERSION: Final = 1

MAX_MEMBERS: Final = 1024
"""Most members of a ring."""
MAX_WINDOW: Final = 1024
"""Most messages of one sender without a receipt."""
MAX_ITEM: Final = 2**20
"""Most bytes of one encoded message."""
MAX_FRAME: Final = 2**21
"""Most bytes of a frame: one message, and the names of all who took it."""
MAX_NUMBER: Final = 2**63 - 1
"""Highest number of a message."""
MAX_RECORDS: Final = 4096
"""Most records in a frame."""
MAX_SUCCESSORS: Final = 16
"""Most successors that somebody may tell."""
FRAME_TARGET: Final = 64 * 1024
"""Records are collected up to about this many bytes in a frame."""
HEARTBEAT_FRAME: Final = b"\x90"

Name = Annotated[str, Meta(min_length=1, max_length=255)]
NameOrNone = Annotated[str, Meta(max_length=255)]
Number = Annotated[int, Meta(ge=1, le=MAX_NUMBER)]
Hops = Annotated[list[Name], Meta(max_length=MAX_MEMBERS)]


class Terms(Struct, frozen=True, kw_only=True):
    """What a dialler says of itself.

    Attributes:
        v: The version spoken.
        group: Name of the ring.
        name: Name of the member.
        incarnation: Text that tells this process from an earlier one of the same name.
        members: Digest of the order that it goes by.
        successor: Its successor at the moment, or ``""``.

    """

    v: Annotated[int, Meta(ge=0, le=2**31)]
    group: Name
    name: Name
    incarnation: Name
    members: Name
    successor: NameOrNone


class Hello(Struct, array_like=True, tag_field="kind", tag=0, forbid_unknown_fields=True):
    """The dialler's first word."""

    terms: Terms


class Welcome(Struct, array_like=True, tag_field="kind", tag=1, forbid_unknown_fields=True):
    """The answer: who I am, who is nearer to you than I, and who comes after me."""

    name: Name
    incarnation: Name
    nearer: NameOrNone
    successors: Annotated[list[Name], Meta(max_length=MAX_SUCCESSORS)]


class Refused(Struct, array_like=True, tag_field="kind", tag=2, forbid_unknown_fields=True):
    """A no; the connection ends after it."""

    code: Text
    reason: Text


class Run(Struct, array_like=True, tag_field="kind", tag=3, forbid_unknown_fields=True, gc=False):
    """Messages ``first``, ``first + 1``, ... of one sender, still encoded."""

    sender: Name
    incarnation: Name
    first: Number
    base: Number
    hops: Hops
    items: Annotated[list[Raw], Meta(min_length=1, max_length=MAX_WINDOW)]

    @property
    def last(self) -> int:
        """Number of the last message."""
        return self.first + len(self.items) - 1

    def part(self, begin: int, end: int) -> Run:
        """Return the messages from number ``begin`` up to and without ``end``."""
        items = self.items[begin - self.first : end - self.first]
        return Run(self.sender, self.incarnation, begin, self.base, self.hops, items)


class Roll(Struct, array_like=True, tag_field="kind", tag=4, forbid_unknown_fields=True):
    """Goes once round and collects names; with ``repair`` it has everybody send again."""

    sender: Name
    incarnation: Name
    number: Number
    repair: bool
    hops: Hops


class Nearer(Struct, array_like=True, tag_field="kind", tag=5, forbid_unknown_fields=True):
    """Somebody is connected to me who is nearer to you than I."""

    name: Name


class Successors(Struct, array_like=True, tag_field="kind", tag=6, forbid_unknown_fields=True):
    """Who comes after me."""

    names: Annotated[list[Name], Meta(max_length=MAX_SUCCESSORS)]


class Bye(Struct, array_like=True, tag_field="kind", tag=7, forbid_unknown_fields=True):
    """I go away on purpose; ``next`` is my successor, or ``""``."""

    next: NameOrNone


Record = Hello | Welcome | Refused | Run | Roll | Nearer | Successors | Bye

encode = msgspec.msgpack.Encoder().encode
_read: Any = msgspec.msgpack.Decoder(list[Record]).decode


def decode_frame(data: bytes) -> list[Record]:
    """Return the records of a frame.

    Raises:
        RemoteProtocolError: If the frame breaks any rule of form.

    """
    if len(data) > MAX_FRAME:
        raise RemoteProtocolError(f"a frame of {len(data)} bytes, the limit is {MAX_FRAME}")
    if too_many_containers(data):
        raise RemoteProtocolError("a frame of too many arrays and maps")
    try:
        records: list[Record] = _read(data)
    except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError, MemoryError) as exc:
        text = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise RemoteProtocolError(f"not a valid frame: {text}") from exc
    if len(records) > MAX_RECORDS:
        raise RemoteProtocolError(f"a frame of {len(records)} records, the limit is {MAX_RECORDS}")
    return records


def frames(records: list[bytes]) -> list[bytes]:
    """Return the frames that carry these encoded records, in order."""
    found: list[bytes] = []
    begin = size = 0
    for at, record in enumerate(records):
        if at > begin and (size + len(record) > FRAME_TARGET or at - begin >= MAX_RECORDS):
            found.append(_frame(records[begin:at]))
            begin, size = at, 0
        size += len(record)
    found.append(_frame(records[begin:]))
    return found


def _frame(records: list[bytes]) -> bytes:
    return b"".join((array_head(len(records)), *records))


def refusal(code: str, reason: str) -> bytes:
    """Return the record that refuses a neighbour."""
    return encode(Refused(code, clip(reason)))
