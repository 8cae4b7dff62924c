"""Who is cancelled, and what goes on: handlers whose task is cancelled, and streams cancelled twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mesh.errors import NackedError
from mesh.links.inbox import Inbox
from mesh.protocol.link import LinkSettings
from tests.helpers.hubs import Fleet, Place, paced, simulated, turns


async def collect(place: Place, data: Any, channel: str = "c") -> list[Any]:
    return await place.stream("b", data, channel)


class Jobs:
    """Handlers of which one lets another one cancel the task it runs in."""

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None

    async def __call__(self, channel: str, item: Any) -> Any:
        if channel == "abort":
            assert self.task is not None
            self.task.cancel()
            return "aborted"
        self.task = asyncio.current_task()
        if item == "self":
            assert self.task is not None
            self.task.cancel()
        await asyncio.sleep(30 if item == "long" else 0)
        return item


@pytest.mark.parametrize("item", ["long", "self"])
def test_a_cancelled_handler_refuses_its_message_and_the_channel_lives(item: str) -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        b.handler = Jobs()
        job = asyncio.create_task(collect(a, [item, "next"]))
        await asyncio.sleep(1)
        if item == "long":
            assert await a.stream("b", ["x"], "abort") == ["aborted"]
        with pytest.raises(NackedError, match="CancelledError: the task of its handler was cancelled"):
            await asyncio.wait_for(job, 5)
        assert await asyncio.wait_for(collect(a, ["short"]), 5) == ["short"]

    simulated(scenario)


def test_who_cancels_a_handler_that_is_done_does_no_harm() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        b.handler = Jobs()
        assert await a.stream("b", ["short"]) == ["short"]
        assert await a.stream("b", ["x"], "abort") == ["aborted"]
        await turns()
        assert "c" not in b.hub._links["a", ""].inboxes
        assert await asyncio.wait_for(collect(a, ["again"]), 5) == ["again"]

    simulated(scenario)


def test_a_link_that_is_shut_ends_its_handlers() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        b.handler = Jobs()
        job = asyncio.create_task(collect(a, ["long"]))
        await asyncio.sleep(1)
        await asyncio.wait_for(b.hub.close(), 1)
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)

    simulated(scenario)


def test_a_mistake_in_the_task_of_a_channel_is_told_and_nobody_waits_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(self: Inbox, *_: Any) -> None:
        self._work = self._queue.pop(0)[0]
        raise ZeroDivisionError("a mistake")

    async def scenario(fleet: Fleet) -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        a, _ = fleet.place("a"), fleet.place("b")
        with monkeypatch.context() as patch:
            patch.setattr(Inbox, "_handle_next", broken)
            with pytest.raises(NackedError, match="the task of channel 'c' ended: a mistake"):
                await asyncio.wait_for(collect(a, [1, 2, 3]), 5)
        assert "channel 'c'" in told[0]["message"]
        assert await asyncio.wait_for(collect(a, [4]), 5) == [4]

    simulated(scenario)


def test_a_stream_that_is_cancelled_twice_is_over() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        b.handler = paced(0.1)

        async def source() -> AsyncIterator[int]:
            n = 0
            while True:
                try:
                    yield n
                    await asyncio.sleep(0.001)
                except asyncio.CancelledError:
                    await asyncio.sleep(0.3)
                n += 1

        async def run() -> None:
            async for _ in a.stream("b", source()):
                pass

        task = asyncio.create_task(run())
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        sent = a.line("b")["sent"]
        assert a.line("b")["in_flight"] == 0
        await asyncio.sleep(5)
        assert a.line("b")["sent"] == sent
        assert a.line("b")["balanced"]

    simulated(scenario)


@pytest.mark.parametrize("wrap", [str, lambda text: [text], lambda text: {"it": {"is": text}}])
def test_large_answers_do_not_pile_up(wrap: Any) -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        await a.stream("b", [0])
        b.got.clear()
        fleet.network.delay("b", "a", 1.0)

        async def large(_: str, item: Any) -> Any:
            return wrap("x" * 100_000)

        b.handler = large
        task = asyncio.create_task(collect(a, [0] * 60))
        await asyncio.sleep(1.5)
        # The window and what one answer is beyond it, but not the 32 between two looks.
        assert 0 < len(b.got) <= 12
        assert len(await task) == 60

    simulated(scenario, LinkSettings(window_bytes=200_000))
