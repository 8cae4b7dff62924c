"""Rings of real shells on a network in memory: receipts, refusals, room, goodbyes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mesh.dialling import AbsentError
from mesh.errors import GridError, NoReceiptError, PayloadError, RingLeftError
from mesh.gridfile import Grid, Group
from mesh.node import Node
from mesh.protocol.ring import RingSettings
from mesh.rings.rings import Rings
from mesh.rings.shell import RingShell
from mesh.transport.base import Transport
from mesh.transport.memory import MemoryNetwork


class Member:
    """One process with its rings."""

    def __init__(self, network: MemoryNetwork, grid: Grid, name: str, settings: RingSettings | None) -> None:
        self.name = name
        self.network = network
        self.got: list[tuple[str, str, Any]] = []
        self.notices: list[str] = []
        self.hold: asyncio.Event | None = None
        self.rings = Rings(name, grid, self._dial, self._handle, self.notices.append, settings)
        network.listen(name, self._accept)

    async def _dial(self, node: Node, timeout: float) -> Transport:
        try:
            async with asyncio.timeout(timeout):
                return await self.network.dial(self.name, node.name)
        except (OSError, TimeoutError) as exc:
            raise AbsentError(str(exc)) from exc

    async def _accept(self, transport: Transport) -> None:
        await self.rings.accept(transport)

    async def _handle(self, group: str, sender: str, item: Any) -> bool:
        if self.hold is not None:
            await self.hold.wait()
        self.got.append((group, sender, item))
        return bool(item != "refuse")

    @property
    def ring(self) -> RingShell:
        return self.rings.ring("chat")


NAMES = ("ann", "bob", "cat")
Start = Callable[..., Awaitable[dict[str, Member]]]


def grid_of(names: tuple[str, ...] = NAMES) -> Grid:
    return Grid(
        [Node(name, port=1) for name in names],
        groups={"chat": Group("chat", names, "ring"), "others": Group("others", names)},
    )


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def closed(members: dict[str, Member]) -> bool:
    names = list(members)
    return all(
        members[name].ring.core.successor == names[(at + 1) % len(names)]
        and members[name].ring.core.predecessor == names[at - 1]
        for at, name in enumerate(names)
    )


@asynccontextmanager
async def ring(
    names: tuple[str, ...] = NAMES, settings: RingSettings | None = None
) -> AsyncIterator[dict[str, Member]]:
    network = MemoryNetwork()
    members = {name: Member(network, grid_of(), name, settings) for name in names}
    try:
        for member in members.values():
            member.rings.prepare()
            member.rings.start()
        if len(members) > 1:
            await until(lambda: closed(members))
        yield members
    finally:
        for member in members.values():
            await member.rings.close()
        await network.aclose()


async def test_a_receipt_names_who_took_the_message() -> None:
    async with ring() as members:
        receipt = await members["bob"].rings.circulate("chat", {"text": "hi"}, 5.0)
        assert receipt.seen == ("cat", "ann")
        assert receipt.seconds >= 0
        await until(lambda: all(len(members[name].got) == 1 for name in ("ann", "cat")))
        assert members["ann"].got == members["cat"].got == [("chat", "bob", {"text": "hi"})]
        assert members["bob"].got == []


async def test_many_at_once_keep_their_order() -> None:
    async with ring() as members:
        ann = members["ann"].rings
        receipts = await asyncio.gather(*(ann.circulate("chat", number, 10.0) for number in range(3000)))
        assert {receipt.seen for receipt in receipts} == {("bob", "cat")}
        await until(lambda: len(members["cat"].got) == 3000)
        assert [item for _, _, item in members["bob"].got] == list(range(3000))


async def test_a_member_alone_has_its_receipt_at_once() -> None:
    async with ring(("ann",)) as members:
        receipt = await members["ann"].rings.circulate("chat", 1, 5.0)
        assert receipt.seen == ()


async def test_a_slow_handler_costs_a_named_error_and_the_ring_goes_on() -> None:
    async with ring(settings=RingSettings(room=1)) as members:
        members["bob"].hold = asyncio.Event()
        ann = members["ann"].rings
        await ann.circulate("chat", 1, 5.0)
        with pytest.raises(NoReceiptError, match=r"not round the ring chat within 0\.2 s"):
            await ann.circulate("chat", 2, 0.2)
        members["bob"].hold.set()
        assert (await ann.circulate("chat", 3, 5.0)).seen == ("bob", "cat")
        await until(lambda: len(members["bob"].got) == 3)


async def test_who_waits_for_room_gets_it_or_the_error() -> None:
    async with ring(settings=RingSettings(room=1, window=2)) as members:
        hold = members["bob"].hold = asyncio.Event()
        ann = members["ann"].rings
        work = [asyncio.create_task(ann.circulate("chat", number, 10.0)) for number in range(10)]
        await asyncio.sleep(0)
        with pytest.raises(NoReceiptError):
            await ann.circulate("chat", "late", 0.1)
        hold.set()
        assert len(await asyncio.gather(*work)) == 10
        assert [item for _, _, item in members["cat"].got] == list(range(10))


async def test_a_cancelled_caller_leaves_no_trace_in_the_books() -> None:
    async with ring(settings=RingSettings(room=1)) as members:
        hold = members["bob"].hold = asyncio.Event()
        ann = members["ann"].rings
        await ann.circulate("chat", 1, 5.0)
        work = asyncio.create_task(ann.circulate("chat", 2, None))
        await asyncio.sleep(0.05)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        hold.set()
        counts = members["ann"].ring.core.traffic.counts
        assert (counts["circulated"], counts["receipted"], counts["cancelled"]) == (2, 1, 1)
        assert members["ann"].ring.core.traffic.in_flight == 0


async def test_what_a_handler_refuses_is_in_its_own_books() -> None:
    async with ring() as members:
        receipt = await members["ann"].rings.circulate("chat", "refuse", 5.0)
        assert receipt.seen == ("bob", "cat")
        await until(lambda: members["bob"].ring.core.traffic.counts["refused"] == 1)


async def test_what_cannot_be_sent_is_said_at_once() -> None:
    async with ring(("ann",)) as members:
        with pytest.raises(PayloadError, match="object cannot be sent round a ring"):
            await members["ann"].rings.circulate("chat", object(), 5.0)


@pytest.mark.parametrize("group", ["others", "caht"])
async def test_a_group_that_is_no_ring_is_named(group: str) -> None:
    async with ring(("ann",)) as members:
        with pytest.raises(GridError, match=f"ann is in no ring '{group}', its rings are: chat"):
            await members["ann"].rings.circulate(group, 1, 5.0)


async def test_a_break_is_mended_and_nothing_is_lost() -> None:
    async with ring() as members:
        ann = members["ann"]
        work = [asyncio.create_task(ann.rings.circulate("chat", number, 10.0)) for number in range(100)]
        await asyncio.sleep(0)
        ann.network.cut("ann", "bob")
        ann.network.cut("bob", "cat")
        await asyncio.gather(*work)
        await until(lambda: closed(members))
        assert (await ann.rings.circulate("chat", "end", 5.0)).seen == ("bob", "cat")
        await until(lambda: all(("chat", "ann", "end") in members[name].got for name in ("bob", "cat")))
        for name in ("bob", "cat"):
            assert [item for _, _, item in members[name].got] == [*range(100), "end"]


async def test_everybody_is_named_to_who_asks() -> None:
    async with ring() as members:
        assert await members["cat"].ring.members() == ("ann", "bob")


async def test_a_member_leaves_and_the_others_close_the_ring() -> None:
    async with ring() as members:
        bob = members.pop("bob")
        await bob.rings.leave()
        await until(lambda: closed(members))
        with pytest.raises(RingLeftError):
            await bob.rings.circulate("chat", 1, 5.0)
        assert not any("lost" in text for member in members.values() for text in member.notices)
        await bob.rings.close()


async def test_what_waits_when_the_member_ends_fails_by_name() -> None:
    async with ring(settings=RingSettings(room=1, window=2)) as members:
        members["bob"].hold = asyncio.Event()
        ann = members["ann"].rings
        work = [asyncio.create_task(ann.circulate("chat", number, None)) for number in range(5)]
        await until(lambda: work[0].done())
        await ann.close()
        done = await asyncio.gather(*work, return_exceptions=True)
        assert [type(one) for one in done[1:]] == [RingLeftError] * 4


async def test_a_stranger_at_the_door_is_answered_and_forgotten() -> None:
    async with ring() as members:
        network = members["ann"].network
        stranger = await network.dial("nobody", "ann")
        await stranger.send(b"\x91\x01")
        assert (await stranger.recv())[:3] == b"\x91\x93\x02"
        assert closed(members)
        await stranger.close()


async def test_the_status_tells_neighbours_and_books() -> None:
    async with ring() as members:
        await members["ann"].rings.circulate("chat", 1, 5.0)
        status: Any = members["ann"].rings.status()
        chat = status["rings"]["chat"]
        assert (chat["predecessor"], chat["successor"]) == ("cat", "bob")
        assert chat["counts"]["receipted"] == 1
