"""Any interleaving of sends, handlers, cuts, resumes, restarts, timeouts and cancellations.

The naive model is in ``tests/helpers/link_pair.py``: plain lists of what was sent, how it
ended and what the handlers saw. ``HYPOTHESIS_PROFILE=soak`` runs for much longer.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mesh.protocol.link import Delivery, LinkSettings, State, traffic
from tests.helpers.link_pair import LinkPair, Shell, answer_of

settings.register_profile(
    "soak",
    max_examples=20_000,
    stateful_step_count=80,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
PROFILE = (
    settings.get_profile("soak")
    if os.environ.get("HYPOTHESIS_PROFILE") == "soak"
    else settings(max_examples=300, stateful_step_count=60, deadline=None, print_blob=True)
)

SIDES = st.sampled_from(["a", "b"])
CHANNELS = st.sampled_from(["x", "y", "z"])
MOST_CHANNELS = 5
"""Channels that may be open at once; so few that it matters."""

SIZES = st.sampled_from([0, 1, 60, 300, 900, 2000, 20_000, 70_000])
DELIVERIES = st.builds(
    Delivery,
    patience=st.sampled_from([None, 1.0, 10.0]),
    ack_timeout=st.sampled_from([None, None, 0.3, 4.0]),
    at_most_once=st.booleans(),
)


def small_settings() -> st.SearchStrategy[LinkSettings]:
    return st.builds(
        LinkSettings,
        window_messages=st.sampled_from([1, 2, 3, 8, 64]),
        window_bytes=st.sampled_from([1024, 2048, 100_000]),
        max_message=st.sampled_from([65_536, 1_000_000]),
        session_ttl=st.sampled_from([3.0, 60.0]),
    )


class LinkMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(traffic, "MAX_CHANNELS", MOST_CHANNELS)

    @initialize(a=small_settings(), b=small_settings(), attach=st.booleans())
    def begin(self, a: LinkSettings, b: LinkSettings, attach: bool) -> None:
        self.pair = LinkPair(a, b)
        if attach:
            self.pair.attach()

    def side(self, name: str) -> Shell:
        return self.pair.shells[name]

    @rule(
        name=SIDES,
        channel=CHANNELS,
        sizes=st.lists(SIZES, min_size=1, max_size=6),
        repeat=st.integers(1, 4),
        delivery=DELIVERIES,
    )
    def send(self, name: str, channel: str, sizes: list[int], repeat: int, delivery: Delivery) -> None:
        if self.side(name).leaving:
            return
        items = []
        for size in sizes * repeat:
            self.number += 1
            items.append(f"{self.number}:{'x' * size}")
        self.side(name).send(channel, items, delivery)

    @rule(
        name=SIDES,
        channel=CHANNELS,
        count=st.integers(1, 9),
        delivery=DELIVERIES,
        then=st.sampled_from("ctdr"),
    )
    def send_and_lose(self, name: str, channel: str, count: int, delivery: Delivery, then: str) -> None:
        """What random steps rarely do: messages that are lost on the way, then given up, then a resume."""
        shell = self.side(name)
        if shell.leaving:
            return
        self.number += count
        owner = shell.send(
            channel, [f"{n}:" for n in range(self.number - count + 1, self.number + 1)], delivery
        )
        shell.transfer()
        if then == "d":
            for connection in self.pair.connections:
                self.pair.deliver(connection, shell.other.name)
        if then != "r":
            self.pair.cut()
        if then == "c":
            shell.cancel(owner)
        if then == "t":
            self.pair.advance(1.1)
        if shell.link.state is State.DETACHED:
            shell.dial()
            self.pair.exchange()

    @rule(
        name=SIDES,
        first=st.integers(0, 7),
        count=st.integers(2, 8),
        delivery=DELIVERIES,
        then=st.sampled_from("-hss"),
    )
    def send_widely(self, name: str, first: int, count: int, delivery: Delivery, then: str) -> None:
        """Many channels; handled, and settled on a connection that is lost then."""
        shell = self.side(name)
        if shell.leaving:
            return
        for channel in range(first, first + count):
            self.number += 1
            shell.send(f"c{channel}", [f"{self.number}:"], delivery)
        if then != "-":
            self.pair.exchange(handle=True)
        if then == "s":
            self.pair.advance(0.6)
            for side in self.pair.shells.values():
                side.transfer()
            self.pair.cut()

    @rule(name=SIDES, limit=st.sampled_from([1, 1000, 300_000]))
    def transfer(self, name: str, limit: int) -> None:
        self.side(name).transfer(limit)

    @rule(name=SIDES, which=st.integers(0, 3), frames=st.integers(1, 4))
    def deliver(self, name: str, which: int, frames: int) -> None:
        if self.pair.connections:
            connection = self.pair.connections[which % len(self.pair.connections)]
            for _ in range(frames):
                self.pair.deliver(connection, name)

    @rule(handle=st.booleans())
    def exchange(self, handle: bool) -> None:
        self.pair.exchange(handle=handle)

    @rule(name=SIDES, channel=CHANNELS, n=st.integers(1, 20), outcome=st.sampled_from("aaarm"))
    def handle(self, name: str, channel: str, n: int, outcome: str) -> None:
        def act(item: Any) -> Any:
            if outcome == "r" or (outcome == "m" and int(item.split(":")[0]) % 3 == 0):
                raise ValueError("no")
            return answer_of(item)

        self.side(name).handle(channel, n, act)

    @rule(name=SIDES)
    def dial(self, name: str) -> None:
        if self.side(name).link.state is State.DETACHED and not self.side(name).leaving:
            self.side(name).dial()

    @rule()
    def cut(self) -> None:
        self.pair.cut()

    @rule()
    def reconnect(self) -> None:
        self.pair.cut()
        self.pair.a.dial()
        self.pair.exchange()

    @rule(name=SIDES)
    def drop(self, name: str) -> None:
        self.side(name).drop()

    @rule(seconds=st.sampled_from([0.1, 0.4, 1.0, 2.6, 5.0, 61.0]))
    def advance(self, seconds: float) -> None:
        self.pair.advance(seconds)

    @rule(name=SIDES)
    def restart(self, name: str) -> None:
        self.side(name).boot()

    @rule(name=SIDES)
    def leave(self, name: str) -> None:
        self.side(name).leave()

    @precondition(lambda self: self.pair.a.owners or self.pair.b.owners)
    @rule(which=st.integers(0, 50))
    def cancel(self, which: int) -> None:
        owners = [owner for shell in self.pair.shells.values() for owner in shell.owners]
        owner = owners[which % len(owners)]
        owner.shell.cancel(owner)

    @invariant()
    def everything_holds(self) -> None:
        if hasattr(self, "pair"):
            self.pair.check()

    def teardown(self) -> None:
        try:
            if hasattr(self, "pair"):
                self.pair.calm()
        finally:
            self.patch.undo()


LinkMachine.TestCase.settings = PROFILE
TestLink = LinkMachine.TestCase
