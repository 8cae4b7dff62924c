"""Records and frames: what crosses the wire, and the strict reading of it.

A frame is one MessagePack array of records. It is read in two steps, both in
compiled code: the frame is cut into records without looking inside (that also gives
the size of each, which the byte window needs), then each record is decoded and
validated against its type below. Whatever does not fit is a ``RemoteProtocolError``;
no other exception leaves this module, whatever the bytes.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from mesh.errors import RemoteProtocolError

SUBPROTOCOL: Final = "sketchmesh.v1"
VERSIONS: Final = (1,)

MAX_RECORDS: Final = 4096
"""Most records in one frame."""
MAX_CHANNELS: Final = 16384
"""Most channels with something in hand or remembered, per direction."""
MAX_TEXT: Final = 4096
"""Most characters of a reason, a type or a message."""
FRAME_OVERHEAD: Final = 2048
"""A frame is at most this much larger than the largest message."""
FRAME_TARGET: Final = 64 * 1024
"""Small records are collected up to about this many bytes in a frame."""
LARGE: Final = 16 * 1024
"""A message above this size has a frame of its own: batching it only costs copies."""
MAX_CONTAINERS: Final = 2**20
"""Most arrays and maps in a frame: each takes a hundred bytes of memory, and may take one in the frame."""
IGNORED_KINDS: Final = 32
"""Records of this kind and above are additions that an older peer skips."""
HEARTBEAT_FRAME: Final = b"\x90"
SKIPPED: Final = "!skipped"
"""The type of the NACK for a message that was given up and never arrived."""
TURNED_AWAY: Final = "!leaving"
"""The type of the NACK for a message that came after our BYE."""

Seq = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=1, le=2**31)]
Channel = Annotated[str, Meta(max_length=255)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
# Checked before the array is made: nobody is granted a larger window.
Batch = Annotated[list[Any], Meta(min_length=1, max_length=2**20)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Seconds = Annotated[float, Meta(gt=0, le=86400)]
WindowMessages = Annotated[int, Meta(ge=1, le=2**20)]
WindowBytes = Annotated[int, Meta(ge=1024, le=2**40)]
MaxMessage = Annotated[int, Meta(ge=65536, le=2**31)]


class Terms(Struct, frozen=True, kw_only=True):
    """What both ends say of themselves when they meet."""

    name: Name
    incarnation: Name
    connections: Annotated[int, Meta(ge=0, le=2**62)]
    window_messages: WindowMessages
    window_bytes: WindowBytes
    max_message: MaxMessage
    heartbeat: Seconds
    timeout: Seconds


class HelloTerms(Terms, frozen=True, kw_only=True):
    """The dialler's terms; ``session`` is empty if it has none to go on with."""

    v: Annotated[list[Annotated[int, Meta(ge=0, le=2**31)]], Meta(min_length=1, max_length=64)]
    session: Annotated[str, Meta(max_length=255)]


class WelcomeTerms(Terms, frozen=True, kw_only=True):
    """The acceptor's terms, and the session from now on."""

    v: Annotated[int, Meta(ge=0, le=2**31)]
    session: Name
    resumed: bool


class Hello(Struct, array_like=True, tag_field="kind", tag=0, forbid_unknown_fields=True):
    """The dialler's first word."""

    terms: HelloTerms


class Welcome(Struct, array_like=True, tag_field="kind", tag=1, forbid_unknown_fields=True):
    """The acceptor's yes."""

    terms: WelcomeTerms


class Refused(Struct, array_like=True, tag_field="kind", tag=2, forbid_unknown_fields=True):
    """A no; the connection ends after it."""

    code: Text
    reason: Text


class Data(Struct, array_like=True, tag_field="kind", tag=3, forbid_unknown_fields=True, gc=False):
    """Messages ``first``, ``first + 1``, and so on."""

    channel: Channel
    first: Seq
    base: Seq
    items: Batch


class Ack(Struct, array_like=True, tag_field="kind", tag=4, forbid_unknown_fields=True, gc=False):
    """The values that handlers returned."""

    channel: Channel
    first: Seq
    values: Batch


class Nack(Struct, array_like=True, tag_field="kind", tag=5, forbid_unknown_fields=True, gc=False):
    """Some messages were refused, all for one reason."""

    channel: Channel
    first: Seq
    count: Count
    type: Text
    message: Text


class Settled(Struct, array_like=True, tag_field="kind", tag=6, forbid_unknown_fields=True, gc=False):
    """Answers below ``base`` may be forgotten."""

    channel: Channel
    base: Seq


class Bye(Struct, array_like=True, tag_field="kind", tag=7, forbid_unknown_fields=True):
    """The peer goes away on purpose."""

    reason: Text


class Skip(Struct, array_like=True, tag_field="kind", tag=8, forbid_unknown_fields=True, gc=False):
    """Takes the place of DATA for messages that were given up."""

    channel: Channel
    first: Seq
    base: Seq
    count: Count


Record = Hello | Welcome | Refused | Data | Ack | Nack | Settled | Bye | Skip

encode = msgspec.msgpack.Encoder().encode
_cut = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_read: Any = msgspec.msgpack.Decoder(Record).decode
_read_all: Any = msgspec.msgpack.Decoder(list[Record]).decode


def decode_frame(data: bytes, limit: int) -> list[tuple[Record, int]]:
    """Return the records of a frame, each with its size in bytes.

    Args:
        data: One binary websocket message.
        limit: Most bytes that a frame may have.

    Raises:
        RemoteProtocolError: If the frame breaks any rule of form.

    """
    if len(data) > limit:
        raise RemoteProtocolError(f"a frame of {len(data)} bytes, the limit is {limit}")
    if len(data) > MAX_CONTAINERS and too_many_containers(data):
        raise RemoteProtocolError(f"a frame of more than {MAX_CONTAINERS} arrays and maps")
    if data[:1] == _ONE:
        # The usual frame; if it is not as it should be, what follows finds out why.
        try:
            return [(_read_all(data)[0], len(data) - 1)]
        except _UNREADABLE:
            pass
    # Before anything is made of it: a short frame can claim, and a long one hold, millions of records.
    count = _count(data)
    if count > MAX_RECORDS:
        raise RemoteProtocolError(f"a frame of {count} records, the limit is {MAX_RECORDS}")
    at = -1
    try:
        records: list[tuple[Record, int]] = []
        for raw in _cut(data):
            at += 1
            try:
                records.append((_read(raw), len(raw)))
            except msgspec.ValidationError:
                if not _ignorable(raw):
                    raise
    except _UNREADABLE as exc:
        where = f"record {at}: " if at >= 0 else ""
        text = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise RemoteProtocolError(f"not a valid frame: {where}{text}") from exc
    return records


_ONE: Final = b"\x91"
_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, ValueError, OverflowError, MemoryError)


def _count(data: bytes) -> int:
    head = data[0] if data else 0
    if 0x90 <= head <= 0x9F:
        return head & 0x0F
    if head == 0xDC:
        return int.from_bytes(data[1:3], "big")
    if head == 0xDD:
        return int.from_bytes(data[1:5], "big")
    raise RemoteProtocolError("not a valid frame: it is no array of records")


def _ignorable(raw: msgspec.Raw) -> bool:
    """Say whether a record that could not be read is one of a kind that may be skipped."""
    # Only its beginning is looked at: a frame full of such records must not cost much either.
    begin = bytes(memoryview(raw)[:16])
    at = {0xDC: 3, 0xDD: 5}.get(begin[0], 1 if 0x91 <= begin[0] <= 0x9F else 16)
    head = begin[at] if at < len(begin) else 0xC0
    if head < 0x80:
        return head >= IGNORED_KINDS
    size = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}.get(head, 0)
    return int.from_bytes(begin[at + 1 : at + 1 + size], "big") >= IGNORED_KINDS


def too_many_containers(data: bytes, most: int = MAX_CONTAINERS) -> bool:
    """Say whether MessagePack holds more than so many arrays and maps, without decoding it."""
    if len(data) - len(data.translate(None, _LIKE_HEADS)) <= most:
        return False  # not even if each such byte were the head of one, and none a part of a text
    # Heads follow each other, whatever is nested in what, so one pass finds them all.
    skip, count, at, end = _LEAVES.match, 0, 0, len(data)
    while at < end:
        found = skip(data, at)
        at = found.end() if found else end
        if at >= end:
            break
        head = data[at]
        if head in _LENGTHS:
            width, more = _LENGTHS[head]
            at += 1 + width + more + int.from_bytes(data[at + 1 : at + 1 + width], "big")
        else:
            count += 1
            at += {0xDC: 3, 0xDD: 5, 0xDE: 3, 0xDF: 5}.get(head, 1)
            if count > most:
                return True
    return False


_LIKE_HEADS: Final = bytes((*range(0x80, 0xA0), *range(0xDC, 0xE0)))
# Heads of texts, bytes and extensions whose length is told: in how many bytes, and what else is there.
_LENGTHS: Final = {
    0xD9: (1, 0),
    0xDA: (2, 0),
    0xDB: (4, 0),
    0xC4: (1, 0),
    0xC5: (2, 0),
    0xC6: (4, 0),
    0xC7: (1, 1),
    0xC8: (2, 1),
    0xC9: (4, 1),
}


def _leaves() -> re.Pattern[bytes]:
    """Return a pattern for any number of values that are no containers, and short."""
    heads: dict[int, list[int]] = {1: [0xCC, 0xD0], 2: [0xCD, 0xD1, 0xD4], 3: [0xD5]}
    heads |= {4: [0xCA, 0xCE, 0xD2], 5: [0xD6], 8: [0xCB, 0xCF, 0xD3], 9: [0xD7], 17: [0xD8]}
    for size in range(1, 32):
        heads.setdefault(size, []).append(0xA0 + size)
    kinds = [rb"[\x00-\x7f\xa0\xc0-\xc3\xe0-\xff]++"]
    kinds += [b"[%b].{%d}" % (re.escape(bytes(some)), size) for size, some in heads.items()]
    # Short ones among those of told length too, or there might be millions left to step over.
    for told, more in (
        (rb"(?:[\xc4\xd9]|[\xc5\xda]\x00|[\xc6\xdb]\x00{3})", 0),
        (rb"(?:\xc7|\xc8\x00|\xc9\x00{3})", 1),
    ):
        sizes = [b"%b.{%d}" % (re.escape(bytes((size,))), size + more) for size in range(32)]
        kinds.append(b"%b(?:%b)" % (told, b"|".join(sizes)))
    # Possessive: nothing is remembered for a way back, however long it gets.
    return re.compile(b"(?s:%b)*+" % b"|".join(kinds))


_LEAVES: Final = _leaves()


def array_head(count: int) -> bytes:
    """Return the bytes that begin an array of ``count`` elements."""
    if count < 16:
        return bytes((0x90 | count,))
    if count < 65536:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def pieces(count: int, body: bytes) -> list[bytes]:
    """Return the elements, still encoded, of an array that we encoded and cut the head off."""
    return [bytes(raw) for raw in _cut(array_head(count) + body)]


def refusal(code: str, reason: str) -> bytes:
    """Return the frame that refuses a peer."""
    return encode([Refused(code, clip(reason))])


def read_refusal(frame: bytes) -> tuple[str, str]:
    """Return code and reason of a frame that ``refusal()`` made."""
    ((record, _),) = decode_frame(frame, len(frame))
    assert isinstance(record, Refused)
    return record.code, record.reason


def clip(text: str) -> str:
    """Return a text for people as it may travel: not too long, and valid UTF-8."""
    return text[:MAX_TEXT].encode("utf-8", "replace").decode()


class Frame:
    """One frame in the making."""

    __slots__ = ("closed", "count", "pieces", "size")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0
        self.count = 0
        self.closed = False

    def add(self, *pieces: bytes) -> None:
        """Add one record, given in pieces."""
        self.pieces += pieces
        self.count += 1
        self.size += sum(map(len, pieces))
        if self.size >= FRAME_TARGET or self.count >= MAX_RECORDS:
            self.closed = True

    def finish(self) -> bytes:
        """Return the frame's bytes."""
        return b"".join((array_head(self.count), *self.pieces))
