"""Requests over a link whose channel has no room."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mesh.links.requesting import request
from mesh.protocol.link import LinkSettings
from mesh.protocol.link.run import Delivery
from tests.helpers.hubs import Fleet, Place, echo, held, paced, simulated, turns

ONE = LinkSettings(window_messages=1)


async def _request(place: Place, msg: object, timeout: float | None = None) -> Any:
    link = await place.dialler("b").first_contact(10)
    return await request(
        link,
        "c",
        msg,
        Delivery(ack_timeout=timeout, from_start=True),
        peer="b",
        explain=lambda failure: RuntimeError(failure),
    )


def test_requests_get_their_turn_in_the_order_of_their_coming() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b", settings=ONE)
        b.handler = echo
        answers = await asyncio.gather(*(_request(a, number) for number in range(50)))
        assert answers == b.got == list(range(50))

    simulated(scenario)


def test_waiting_for_room_is_part_of_the_time_that_a_request_has() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b", settings=ONE)
        b.handler = paced(0.4)
        begin = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*(_request(a, n, 1.0) for n in range(20)), return_exceptions=True)
        assert asyncio.get_running_loop().time() - begin < 1.1
        assert answers[:2] == [0, 1]
        assert all("ACK_TIMEOUT" in str(answer) for answer in answers[2:])
        await asyncio.sleep(2)
        assert b.got == [0, 1, 2]
        assert a.line("b")["balanced"]

    simulated(scenario)


def test_a_request_that_is_cancelled_while_it_waits_is_never_sent() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b", settings=ONE)
        gate = asyncio.Event()
        b.handler = held(gate)
        tasks = [asyncio.create_task(_request(a, number)) for number in range(3)]
        await turns()
        tasks[1].cancel()
        await turns()
        gate.set()
        assert await tasks[0] == 0
        assert await tasks[2] == 2
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        assert b.got == [0, 2]

    simulated(scenario)


def test_requests_that_wait_for_room_learn_that_the_link_closes() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b", settings=ONE)
        b.handler = paced(0.1)
        tasks = [asyncio.create_task(_request(a, number)) for number in range(3)]
        await turns()
        await a.hub.drain("done")
        first, *others = await asyncio.gather(*tasks, return_exceptions=True)
        assert first == 0
        assert [str(other) for other in others if isinstance(other, RuntimeError)]
        assert len([other for other in others if isinstance(other, RuntimeError)]) == 2

    simulated(scenario)
