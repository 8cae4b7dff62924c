"""One link for each pair of processes, whatever they call each other; and no more links than there may be."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mesh.errors import PeerDownError
from mesh.links import hub as hub_module
from tests.helpers.hubs import Fleet, Place, simulated, turns


async def send(place: Place, target: str, at: str, out: list[Any], count: int = 50) -> None:
    for n in range(count):
        out += await place.stream(target, [f"{target} {n}.{m}" for m in range(5)], place=at)
        await asyncio.sleep(0.005)


def ups(place: Place) -> list[str]:
    return [name for name, state, _ in place.changes if state == "up"]


# -- two names for one process ---------------------------------------------------------------


def test_two_names_for_one_process_share_one_link() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        one: list[Any] = []
        two: list[Any] = []
        await asyncio.gather(send(a, "one", "b", one), send(a, "two", "b", two))
        assert len(one) == len(two) == 250
        assert sorted(b.got) == sorted(one + two)
        assert len(a.hub._links) == len(b.hub._links) == 1
        assert len(ups(a)) == len(ups(b)) == 1

    simulated(scenario)


def test_an_accepted_link_is_used_for_a_peer_we_call_otherwise() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        assert await b.stream("a", [1]) == [1]
        assert await a.stream("other name", [2], place="b", patience=5.0) == [2]
        assert list(a.hub._links) == [("b", "")]
        assert b.got == [2]

    simulated(scenario)


def test_a_second_name_does_not_disturb_a_session_whose_connection_is_lost() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        assert await a.stream("one", [1], place="b") == [1]
        link = a.hub._links["one", ""]
        fleet.network.cut("a", "b")
        # Both are about to dial; the new name may well be the first.
        assert await a.stream("two", [2], place="b") == [2]
        assert await a.stream("one", [3], place="b") == [3]
        await asyncio.sleep(5)
        assert list(a.hub._links.values()) == [link]
        assert len(b.hub._links) == 1

    simulated(scenario)


def test_a_new_name_does_not_wait_for_a_link_that_nobody_dials() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        assert await a.stream("one", [1], place="b") == [1]
        # The first address is down for longer, the other one leads there still.
        dialler = a.hub._dials["one", ""]
        await dialler.close()
        fleet.network.cut("a", "b")
        await turns()
        assert await a.stream("two", [2], place="b", patience=20.0) == [2]
        await asyncio.sleep(5)
        assert len(b.hub._links) == 1
        assert b.got == [1, 2]
        assert await a.stream("one", [3], place="b", patience=20.0) == [3]
        await asyncio.sleep(70)
        assert len(a.hub._links) == len(b.hub._links) == 1

    simulated(scenario)


def test_names_part_again_when_another_process_takes_one_of_the_addresses() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        assert await a.stream("one", [1], place="b") == [1]
        fleet.network.listen("second", b._accept)
        assert await a.stream("two", [2], place="second") == [2]
        assert len(a.hub._links) == 1
        fleet.network.close("second")
        await b.die()
        await asyncio.sleep(1)
        again, other = fleet.place("b"), fleet.place("c", "second")
        assert await a.stream("one", [3], place="b", patience=20.0) == [3]
        assert await a.stream("two", [4], place="second", patience=20.0) == [4]
        assert (again.got, other.got) == ([3], [4])

    simulated(scenario)


# -- one name, two processes ------------------------------------------------------------------


def test_one_name_at_two_addresses_is_two_links() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b, c = fleet.place("a"), fleet.place("b"), fleet.place("c")
        for n in range(3):
            assert await a.stream("twin", [f"b{n}"], place="b") == [f"b{n}"]
            assert await a.stream("twin", [f"c{n}"], place="c") == [f"c{n}"]
        assert b.got == ["b0", "b1", "b2"]
        assert c.got == ["c0", "c1", "c2"]
        assert a.line("twin")["acked"] == a.line("twin (memory://c)")["acked"] == 3

    simulated(scenario)


# -- names that read as ours --------------------------------------------------------------------


def test_no_name_of_a_peer_locks_out_another_one() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        await a.stream("buzzer", [0], place="b")
        squatter = fleet.place("buzzer (accepted)", "x")
        buzzer = fleet.place("buzzer", "y")
        for place in (squatter, buzzer):
            assert await place.stream("a", [place.name], patience=5.0) == [place.name]
        assert a.got == ["buzzer (accepted)", "buzzer"]
        assert a.line("buzzer (accepted)", "received")["handled"] == 1
        assert a.line('"buzzer (accepted)"', "received")["handled"] == 1
        assert b.got == [0]

    simulated(scenario)


def test_no_name_of_a_peer_reads_as_the_books_own() -> None:
    async def scenario(fleet: Fleet) -> None:
        a = fleet.place("a")
        names = ["(forgotten peers)", *(f"x{n}" for n in range(hub_module.MOST_RECENT + 1))]
        for name in names:
            await fleet.place(name, f"at {name}").stream("a", [1])
        for place in fleet.places[2:]:
            await place.hub.drain("done")
            await place.hub.close()
        await asyncio.sleep(70)
        assert list(a.hub.books()) == ['"(forgotten peers)"', *names[2:], "(forgotten peers)"]

    simulated(scenario)


# -- how many there may be ------------------------------------------------------------------------


def test_a_peer_that_is_away_and_owes_nothing_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_LINKS", 3)

    async def scenario(fleet: Fleet) -> None:
        b = fleet.place("b")
        for n in range(8):
            script = fleet.place(f"script-{n}")
            await script.stream("b", [n], patience=2.0)
            await script.die()
            await asyncio.sleep(1)
        assert b.got == list(range(8))
        assert [name for name, _ in b.hub._links] == ["script-5", "script-6", "script-7"]
        assert b.hub.balanced()

    simulated(scenario)


def test_a_dialler_has_no_more_links_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_LINKS", 2)

    async def scenario(fleet: Fleet) -> None:
        a = fleet.place("a")
        places = [fleet.place(name) for name in ("p", "q", "r")]
        await a.stream("p", [1])
        await a.stream("q", [1])
        with pytest.raises(PeerDownError, match="this process has 2 links in use"):
            await a.stream("r", [1])
        await places[0].die()
        await asyncio.sleep(1)
        assert await a.stream("r", [2], patience=2.0) == [2]
        for n in range(5):
            with pytest.raises(PeerDownError):
                await a.stream(f"nobody-{n}", [1], patience=0.5)
            await places[1].die()
        assert len(a.hub._dials) == len(a.hub._links) == 2

    simulated(scenario)


def test_nobody_is_dialled_for_ever_for_whom_nobody_waits() -> None:
    async def scenario(fleet: Fleet) -> None:
        a = fleet.place("a")
        with pytest.raises(PeerDownError):
            await a.stream("nobody", [1], patience=1.0)
        await asyncio.sleep(30)
        assert len(a.hub._dials) == 1
        patient = asyncio.create_task(wait(a, "somebody"))
        await asyncio.sleep(300)
        assert list(a.hub._links) == list(a.hub._dials) == [("somebody", "")]
        fleet.place("somebody")
        assert await patient == [1]

    async def wait(place: Place, target: str) -> list[Any]:
        return await place.stream(target, [1], patience=None)

    simulated(scenario)
