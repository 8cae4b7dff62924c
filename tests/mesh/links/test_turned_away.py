"""Peers that say no, or answer and take nothing: who is told what, and how soon."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mesh.dialling import AbsentError, NotALinkError
from mesh.errors import (
    AckTimeoutError,
    FrameTooLargeError,
    NameTakenError,
    OutcomeUnknownError,
    PeerDownError,
    VersionMismatchError,
)
from mesh.links import hub as hub_module
from mesh.protocol.link import LinkSettings, meeting, refusal
from mesh.transport.base import Transport
from tests.helpers.hubs import Fleet, held, simulated, turns


def now() -> float:
    return asyncio.get_running_loop().time()


# -- a name that is taken --------------------------------------------------------------------


def test_a_second_process_of_a_live_name_is_told_at_once_and_so_is_who_refuses() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        await a.stream("b", [1])
        twin = fleet.place("a", "elsewhere")
        begin = now()
        for _ in range(3):  # a rhythm that tries again and again
            with pytest.raises(NameTakenError):
                await twin.stream("b", [2], patience=None)
        with pytest.raises(NameTakenError) as caught:
            await twin.stream("b", [2])
        assert now() - begin < 0.5
        assert str(caught.value) == (
            "b at memory://b refuses a link with this process (b has a live link with another process of the "
            "name a); give one of the two a name of its own, or stop the other one"
        )
        assert caught.value.peer == "b"
        assert caught.value.reason == "b has a live link with another process of the name a"
        assert not caught.value.transmitted
        why = "b has a live link with another process of the name a"
        assert b.notices == [f"refused a link with a at elsewhere (name-taken: {why})"]
        assert await a.stream("b", [3]) == [3]
        assert b.got == [1, 3]

    simulated(scenario)


def test_a_peer_that_is_called_as_we_are_says_so() -> None:
    async def scenario(fleet: Fleet) -> None:
        b, other = fleet.place("b"), fleet.place("b", "elsewhere")
        with pytest.raises(NameTakenError, match="b is my own name; give the other process another one"):
            await b.stream("b", [1], place="elsewhere", patience=None)
        assert len(other.notices) == 1

    simulated(scenario)


def test_what_waits_on_a_link_that_is_then_refused_fails_at_once() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        gate = asyncio.Event()
        b.handler = held(gate)

        async def run(data: list[Any], channel: str) -> list[Any]:
            return await a.stream("b", data, channel, patience=None)

        sent = asyncio.create_task(run([1, 2], "c"))
        await turns()
        fleet.network.partition("a", "b")
        fleet.network.cut("a", "b")
        await turns()
        queued = asyncio.create_task(run([3], "d"))
        await asyncio.sleep(5)  # until b has noticed
        # Meanwhile another process takes the name.
        gate.set()
        twin = fleet.place("a", "elsewhere")
        await twin.stream("b", ["mine"], "e")
        fleet.network.heal("a", "b")
        outcomes = await asyncio.gather(sent, queued, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [NameTakenError, NameTakenError]
        assert [outcome.transmitted for outcome in outcomes if isinstance(outcome, NameTakenError)] == [
            True,
            False,
        ]
        assert "may or may not have been handled" in str(outcomes[0])
        assert a.line("b")["failed"] == {"turned away": 2}
        assert any("refuses a link" in notice for notice in a.notices)

    simulated(scenario)


# -- no version in common ----------------------------------------------------------------------


def test_without_a_version_in_common_both_are_told_which_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "VERSIONS", (7, 8))

    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        begin = now()
        with pytest.raises(VersionMismatchError) as caught:
            await a.stream("b", [1], patience=None)
        assert now() - begin < 0.5
        assert str(caught.value) == (
            "b at memory://b refuses a link with this process (b speaks versions [7, 8], a speaks [1]); "
            "bring the older of the two up to date"
        )
        assert b.notices == ["refused a link with a at a (version: b speaks versions [7, 8], a speaks [1])"]

    simulated(scenario)


# -- a peer that cannot be dialled any more -----------------------------------------------------


def test_what_waits_for_a_peer_that_is_another_program_now_fails_at_once() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        is_plain = False

        async def dial() -> Transport:
            if is_plain:
                raise NotALinkError("b", "b speaks no sketchmesh.v1")
            return await fleet.network.dial("a", "b")

        async def never(_: str, __: Any) -> Any:
            await asyncio.Event().wait()

        async def run(channel: str) -> None:
            await a.stream("b", [2], channel, patience=None)

        a.hub.dialler("b", "memory://b", dial)
        await a.stream("b", [1])
        b.handler = never
        sent = asyncio.create_task(run("d"))
        await turns()
        is_plain = True
        fleet.network.cut("a", "b")
        queued = asyncio.create_task(run("e"))
        begin = now()
        outcomes = await asyncio.gather(sent, queued, return_exceptions=True)
        assert now() - begin < 1
        assert [type(outcome) for outcome in outcomes] == [OutcomeUnknownError, NotALinkError]
        assert a.hub._links == {}, "so that the next stream asks what is there"
        dialler = a.hub.dialler("b", "memory://b", dial)
        with pytest.raises(NotALinkError):
            await dialler.first_contact(None)
        is_plain = False
        b.handler = lambda _, item: asyncio.sleep(0, item)
        assert await a.stream("b", [3]) == [3]

    simulated(scenario)


# -- those that may change their mind ------------------------------------------------------------


def test_a_peer_with_too_many_links_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_LINKS", 1)

    async def scenario(fleet: Fleet) -> None:
        a, b, c = fleet.place("a"), fleet.place("b"), fleet.place("c")
        await a.stream("b", [1])
        with pytest.raises(PeerDownError, match=r"too-many: b has 1 links.*; it is running, so see there"):
            await c.stream("b", [2], patience=2.0)
        await a.die()
        await asyncio.sleep(70)  # until its session is over
        assert await c.stream("b", [3], patience=5.0) == [3]
        assert len([notice for notice in b.notices if "too-many" in notice]) == 1

    simulated(scenario)


@pytest.mark.parametrize("known", [False, True], ids=["first contact", "lost"])
def test_who_answers_with_an_http_error_is_not_asked_whether_it_runs(known: bool) -> None:
    async def scenario(fleet: Fleet) -> None:
        a, _ = fleet.place("a"), fleet.place("b")
        is_up = known

        async def dial() -> Transport:
            if is_up:
                return await fleet.network.dial("a", "b")
            raise AbsentError("it answered HTTP 503", accepted=True)

        a.hub.dialler("b", "memory://b", dial)
        if known:
            await a.stream("b", [1])
            is_up = False
            fleet.network.cut("a", "b")
            await turns()
        with pytest.raises(PeerDownError, match=r"HTTP 503\); it is running, so see there why"):
            await a.stream("b", [2], patience=2.0)

    simulated(scenario)


# -- what was really waited ------------------------------------------------------------------------


def test_an_error_says_how_long_was_really_waited() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        await a.stream("b", [1])

        async def never(_: str, __: Any) -> Any:
            await asyncio.Event().wait()

        b.handler = never
        with pytest.raises(AckTimeoutError) as late:
            await a.stream("b", [2], "d", ack_timeout=1.5)
        assert late.value.waited == pytest.approx(1.5, abs=0.01)

        async def run() -> None:
            # Patient without end; but connections that are lost again and again are no way out.
            await a.stream("b", [3], "e", patience=None)

        begin = now()
        task = asyncio.create_task(run())
        while not task.done():
            await asyncio.sleep(2)
            fleet.network.cut("a", "b")
            await turns()
        with pytest.raises(PeerDownError) as down:
            await task
        assert down.value.transmitted
        assert down.value.waited == pytest.approx(now() - begin, abs=0.5)
        assert down.value.waited > 10

    simulated(scenario)


# -- too large ---------------------------------------------------------------------------------------


def test_an_item_too_large_is_an_error_of_delivery_with_the_acks_before_it() -> None:
    async def scenario(fleet: Fleet) -> None:
        a = fleet.place("a")
        fleet.place("b", settings=LinkSettings(max_message=65536))
        large = b"x" * 100_000
        with pytest.raises(FrameTooLargeError, match="larger than the 65536 that the peer takes") as caught:
            await a.stream("b", [1, 2, large, 3])
        assert (caught.value.peer, caught.value.acks) == ("b", [1, 2])
        assert caught.value.size is not None
        assert caught.value.size > 100_000
        assert isinstance(caught.value, ValueError)

    simulated(scenario)


def test_so_is_one_that_was_encoded_before_its_peer_was_known() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        await a.stream("b", [1])
        await b.die()
        await turns()

        async def run() -> None:
            await a.stream("b", [b"x" * 100_000], patience=None)

        task = asyncio.create_task(run())
        await asyncio.sleep(1)
        fleet.place("b", settings=LinkSettings(max_message=65536))
        with pytest.raises(FrameTooLargeError, match="larger than b takes; split it") as caught:
            await task
        assert (caught.value.peer, caught.value.size, caught.value.limit) == ("b", None, None)

    simulated(scenario)


# -- nonsense ------------------------------------------------------------------------------------------


def test_an_unknown_refusal_is_none_for_good() -> None:
    async def scenario(fleet: Fleet) -> None:
        a = fleet.place("a")
        times = 0

        async def refuse(transport: Transport) -> None:
            nonlocal times
            times += 1
            await transport.recv()
            await transport.send(refusal("mood", "not today"))
            await transport.close()

        fleet.network.listen("b", refuse)
        with pytest.raises(PeerDownError, match="mood: not today"):
            await a.stream("b", [1], patience=3.0)
        assert times > 2

    simulated(scenario)
