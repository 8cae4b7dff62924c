"""Rings of real shells on a network in memory: receipts, refusals, room, goodbyes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mesh.dialling import AbsentError
from mesh.errors import FrameTooLargeError, GridError, NoReceiptError, PayloadError, RingError, RingLeftError
from mesh.gridfile import Grid, Group
from mesh.links.inbox import Route
from mesh.node import Node
from mesh.protocol.ring import Changed, RingSettings
from mesh.protocol.ring.records import MAX_ITEM
from mesh.protocol.values import Refusal
from mesh.rings import queue
from mesh.rings.rings import Rings
from mesh.rings.shell import RingShell
from mesh.transport.base import Transport
from mesh.transport.memory import MemoryNetwork


class Member:
    """One process with its rings."""

    def __init__(self, network: MemoryNetwork, grid: Grid, name: str, settings: RingSettings | None) -> None:
        self.name = name
        self.network = network
        self.got: list[tuple[str, Any]] = []
        self.notices: list[str] = []
        self.dialled: list[Node] = []
        self.hold: asyncio.Event | None = None
        self.rings = Rings(name, grid, self._dial, self._route, self.notices.append, settings)
        network.listen(name, self._accept)

    async def _dial(self, node: Node, timeout: float) -> Transport:
        self.dialled.append(node)
        try:
            async with asyncio.timeout(timeout):
                return await self.network.dial(self.name, node.name)
        except (OSError, TimeoutError) as exc:
            raise AbsentError(str(exc)) from exc

    async def _accept(self, transport: Transport) -> None:
        await self.rings.accept(transport)

    def _route(self, group: str) -> Route:
        return Route(self._handle, self._prepare, self._recover)

    def _prepare(self, items: list[Any]) -> list[Any]:
        if "unprepared" in items:
            raise ValueError("it cannot be prepared")
        return items

    async def _handle(self, group: str, item: Any) -> None:
        if self.hold is not None:
            await self.hold.wait()
        self.got.append((group, item))
        if item == "refuse":
            raise ValueError(item)
        if item == "cancel":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

    async def _recover(self, item: Any, error: BaseException) -> Refusal:
        return Refusal(type(error).__name__, str(error))

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
        assert members["ann"].got == members["cat"].got == [("chat", {"text": "hi"})]
        assert members["bob"].got == []


async def test_many_at_once_keep_their_order() -> None:
    async with ring() as members:
        ann = members["ann"].rings
        receipts = await asyncio.gather(*(ann.circulate("chat", number, 10.0) for number in range(3000)))
        assert {receipt.seen for receipt in receipts} == {("bob", "cat")}
        # The last receipt may be in before the last handler has run.
        await until(lambda: all(len(members[name].got) == 3000 for name in ("bob", "cat")))
        for name in ("bob", "cat"):
            assert [item for _, item in members[name].got] == list(range(3000))


async def test_calls_that_come_while_room_opens_keep_their_order() -> None:
    async with ring(settings=RingSettings(window=8)) as members:
        ann = members["ann"].rings
        work = []
        for number in range(1000):
            work.append(asyncio.create_task(ann.circulate("chat", number, 30.0)))
            if number % 5 == 4:
                await asyncio.sleep(0)  # some receipts come in between, and make room
        assert members["ann"].ring.waiting
        await asyncio.gather(*work)
        await until(lambda: all(len(members[name].got) == 1000 for name in ("bob", "cat")))
        for name in ("bob", "cat"):
            assert [item for _, item in members[name].got] == list(range(1000))


async def test_callers_that_never_stop_have_equal_shares() -> None:
    async with ring(settings=RingSettings(window=4)) as members:
        ann, counts = members["ann"].rings, [0] * 20

        async def go_on(number: int) -> None:
            while max(counts) < 20:
                await ann.circulate("chat", number, 30.0)
                counts[number] += 1

        await asyncio.gather(*map(go_on, range(20)))
        # Who is let in has its receipt with up to three others, before those behind it.
        assert min(counts) >= 19, counts


async def test_too_many_that_wait_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MOST_WAITING", 2)
    async with ring(settings=RingSettings(room=1, window=1)) as members:
        hold = members["bob"].hold = asyncio.Event()
        ann = members["ann"].rings
        await ann.circulate("chat", 0, 10.0)
        work = [asyncio.create_task(ann.circulate("chat", number, 10.0)) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(RingError, match=r"2 messages with 2 bytes wait for room in the ring chat"):
            await ann.circulate("chat", 3, 10.0)
        assert line(members["ann"], "sent") == {
            "sent": 5,
            "acked": 1,
            "in_flight": 3,
            "failed": {"no room": 1},
        }
        hold.set()
        await asyncio.gather(*work)


async def test_who_gives_up_makes_room_for_the_next() -> None:
    async with ring(settings=RingSettings(room=1, window=1)) as members:
        hold = members["bob"].hold = asyncio.Event()
        ann = members["ann"].rings
        await ann.circulate("chat", 0, 10.0)
        work = [asyncio.create_task(ann.circulate("chat", number, 10.0)) for number in range(1, 5)]
        await until(lambda: members["ann"].ring.waiting == 3)
        for gone in (work.pop(1), work.pop(0)):  # one that waits, then the one before it, which is on its way
            gone.cancel()
        await until(lambda: members["ann"].ring.waiting == 1)
        hold.set()
        await asyncio.gather(*work)
        await until(lambda: len(members["cat"].got) == 4)
        assert [item for _, item in members["cat"].got] == [0, 1, 3, 4]


async def test_a_member_alone_has_its_receipt_at_once() -> None:
    async with ring(("ann",)) as members:
        receipt = await members["ann"].rings.circulate("chat", 1, 5.0)
        assert receipt.seen == ()


async def test_a_member_that_has_moved_is_dialled_where_it_is() -> None:
    async with ring(("ann",), RingSettings(probe=0.01)) as members:
        ann = members["ann"]
        moved = Grid([Node(name, port=2) for name in NAMES], groups=grid_of().groups)
        ann.rings.take_grid(moved)
        await until(lambda: Node("bob", port=2) in ann.dialled)


async def test_a_slow_handler_costs_a_named_error_and_the_ring_goes_on() -> None:
    async with ring(settings=RingSettings(room=1)) as members:
        members["bob"].hold = asyncio.Event()
        ann = members["ann"].rings
        await ann.circulate("chat", 1, 5.0)
        with pytest.raises(NoReceiptError, match=r"not round the ring chat within \d+\.\d s"):
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
        await until(lambda: len(members["cat"].got) == 10)
        assert [item for _, item in members["cat"].got] == list(range(10))


async def test_a_cancelled_caller_leaves_no_trace_in_the_books() -> None:
    async with ring(settings=RingSettings(room=1)) as members:
        hold = members["bob"].hold = asyncio.Event()
        ann = members["ann"].rings
        await ann.circulate("chat", 1, 5.0)
        work = asyncio.create_task(ann.circulate("chat", 2, None))
        await until(lambda: members["ann"].ring.core.traffic.in_flight == 1)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        hold.set()
        counts = members["ann"].ring.core.traffic.counts
        assert (counts["circulated"], counts["receipted"], counts["cancelled"]) == (2, 1, 1)
        assert members["ann"].ring.core.traffic.in_flight == 0


def line(member: Member, way: str) -> dict[str, Any]:
    """Return what is not nothing in a line of the books, which balances."""
    found = member.rings.books()["chat (ring)"][way]["chat"]
    assert found["balanced"], found
    return {key: value for key, value in found.items() if value and key != "balanced"}


async def test_the_books_say_what_became_of_each_message_and_balance_at_any_time() -> None:
    async with ring(settings=RingSettings(room=1, window=2)) as members:
        ann, bob = members["ann"], members["bob"]
        hold = bob.hold = asyncio.Event()
        assert ann.rings.books() == bob.rings.books() == {}
        await ann.rings.circulate("chat", 0, 10.0)
        work = [asyncio.create_task(ann.rings.circulate("chat", number, 10.0)) for number in range(4)]
        await until(lambda: bob.ring.core.traffic.kept == 2)
        assert line(ann, "sent") == {"sent": 5, "acked": 1, "in_flight": 4}, "two of them wait for room"
        assert line(bob, "received") == {"received": 3, "in_hand": 3}
        with pytest.raises(NoReceiptError):
            await ann.rings.circulate("chat", "late", 0.01)
        with pytest.raises(FrameTooLargeError):
            await ann.rings.circulate("chat", bytes(MAX_ITEM), 1.0)
        work.pop().cancel()
        hold.set()
        await asyncio.gather(*work)
        failed = {"no receipt": 1, "too large": 1}
        assert line(ann, "sent") == {"sent": 7, "acked": 4, "failed": failed, "cancelled": 1}
        await until(lambda: line(bob, "received") == {"received": 4, "handled": 4})


async def test_what_a_handler_refuses_is_in_its_own_books() -> None:
    async with ring() as members:
        receipt = await members["ann"].rings.circulate("chat", "refuse", 5.0)
        assert receipt.seen == ("bob", "cat")
        await until(lambda: members["bob"].ring.core.traffic.counts["refused"] == 1)


async def test_what_cannot_be_prepared_is_refused_and_the_next_is_handled() -> None:
    async with ring() as members:
        for item in ("unprepared", "next"):
            await members["ann"].rings.circulate("chat", item, 5.0)
        await until(lambda: line(members["bob"], "received") == {"received": 2, "handled": 1, "refused": 1})


async def test_a_handler_that_cancels_its_task_costs_that_message_alone() -> None:
    async with ring() as members:
        for item in ("cancel", "next"):
            await members["ann"].rings.circulate("chat", item, 5.0)
        await until(lambda: line(members["bob"], "received") == {"received": 2, "handled": 1, "refused": 1})


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
        await until(lambda: all(("chat", "end") in members[name].got for name in ("bob", "cat")))
        for name in ("bob", "cat"):
            assert [item for _, item in members[name].got] == [*range(100), "end"]


async def test_who_is_dialled_while_it_is_alone_does_not_say_that_nobody_is_there() -> None:
    async with ring(("ann",)) as members:
        shell, notices = members["ann"].ring, members["ann"].notices
        await until(lambda: shell.core.is_lone)
        notices.clear()
        shell._happened(Changed("cat", "", lone=True))
        shell._happened(Changed("", "", lone=True))
        assert notices == ["ring chat: cat -> me -> ?", "ring chat: nobody else is there"]


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
