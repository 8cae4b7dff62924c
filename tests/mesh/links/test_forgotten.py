"""Peers that are gone for good: their links are dropped, and what they sent still counts."""

from __future__ import annotations

import asyncio
from typing import Any

from mesh.protocol.books import ALL, FORGOTTEN
from tests.helpers.hubs import Fleet, Place, simulated


def received(place: Place, key: str = "received") -> int:
    books: Any = place.hub.books()
    return sum(line[key] for lines in books.values() for line in lines["received"].values())


def test_totals_do_not_shrink_when_peers_are_forgotten() -> None:
    async def scenario(fleet: Fleet) -> None:
        b = fleet.place("b")
        for n in range(20):
            script = fleet.place(f"script-{n}")
            await script.stream("b", range(5))
            assert received(b) == 5 * (n + 1)
            if n % 2:
                await script.die()
                await asyncio.sleep(70)  # until its session is over
            else:
                await script.hub.drain("done")
                await script.hub.close()
                await asyncio.sleep(1)
            assert received(b) == received(b, "handled") == 5 * (n + 1)
        assert list(b.hub.books()) == [*(f"script-{n}" for n in range(4, 20)), FORGOTTEN]
        assert set(b.hub.books()[FORGOTTEN]["received"]) == {ALL}
        assert b.hub.balanced()

    simulated(scenario)


def test_who_comes_back_after_it_was_forgotten_begins_a_new_line() -> None:
    async def scenario(fleet: Fleet) -> None:
        b = fleet.place("b")
        for n in range(2):
            a = fleet.place("a", f"a-{n}")
            await a.stream("b", range(3))
            if not n:
                await a.die()
                await asyncio.sleep(70)
        assert list(b.hub.books()) == ["a", "a (forgotten)"]
        assert b.line("a", "received")["handled"] == 3
        assert received(b) == 6

    simulated(scenario)


def test_what_did_not_balance_is_not_hidden_by_its_successor() -> None:
    async def scenario(fleet: Fleet) -> None:
        b = fleet.place("b")
        a = fleet.place("a", "a-0")
        await a.stream("b", range(3))
        # A mistake of ours, made by hand.
        b.hub._links["a", ""].core._traffic._ledger.taken["c"].handled -= 1
        await a.die()
        await asyncio.sleep(70)  # until its session is over
        again = fleet.place("a", "a-1")
        await again.stream("b", range(3))
        assert list(b.hub.books()) == ["a", "a (forgotten)"]
        assert b.line("a", "received")["balanced"]
        assert not b.line("a (forgotten)", "received")["balanced"]
        assert not b.hub.balanced()
        # For the helper, which looks whether all balances at the end.
        fleet.places.remove(b)
        await b.hub.close()

    simulated(scenario)
