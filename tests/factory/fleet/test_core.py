"""The state of a fleet: starts, ends, changes and their way back; no process is harmed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.fleet.actions import (
    RESTS,
    Action,
    Became,
    Kill,
    RolledBack,
    Settings,
    Settled,
    Start,
    State,
    Terminate,
)
from factory.fleet.core import Fleet
from mesh.node import Node, Restart

A = Node("a", port=1, sketch="x")
B = Node("b", port=2, sketch="x", target="a")
C = Node("c", sketch="x", target="b")


class World:
    """Processes that do as they are told, unless a test says otherwise."""

    def __init__(self, *, auto: bool = True, settings: Settings | None = None) -> None:
        self.fleet = Fleet(settings or Settings(start=10.0, stop=5.0, at_once=3))
        self.now = 0.0
        self.auto = auto
        self.running: dict[str, tuple[int, Node]] = {}
        self.starts: list[str] = []
        self.log: list[Action] = []
        # By name, what becomes of the next start: None is "never ready".
        self.fate: Callable[[str], str] = lambda name: "ready"
        self.deaf: set[str] = set()

    def settle(self) -> list[Action]:
        """Carry out actions until there are none; return them."""
        done: list[Action] = []
        while actions := self.fleet.take_actions():
            done += actions
            for action in actions:
                self._do(action)
        self.log += done
        self._check()
        return done

    def _do(self, action: Action) -> None:
        if isinstance(action, Start):
            name = action.node.name
            assert name not in self.running, f"{name} is started twice"
            ports = [node.port for _, node in self.running.values() if node.port]
            assert action.node.port not in ports, f"the port of {name} is taken"
            self.running[name] = (action.run, action.node)
            self.starts.append(name)
            fate = self.fate(name) if self.auto else "nothing"
            if fate == "ready":
                self.fleet.ready(name, action.run, self.now)
            elif fate == "crash":
                self.die(name)
        elif isinstance(action, Terminate):
            if action.name not in self.deaf and self.running.get(action.name, (0,))[0] == action.run:
                self.die(action.name, failed=False)
        elif isinstance(action, Kill) and self.running.get(action.name, (0,))[0] == action.run:
            self.die(action.name)

    def die(self, name: str, *, failed: bool = True, why: str = "failed with exit code 1") -> None:
        run, _ = self.running.pop(name)
        self.fleet.ended(name, run, self.now, failed=failed, why=why)

    def pass_time(self, seconds: float) -> list[Action]:
        end = self.now + seconds
        done = self.settle()
        while (due := self.fleet.next_deadline()) is not None and due <= end:
            self.now = max(due, self.now)
            self.fleet.handle_timer(self.now)
            done += self.settle()
        self.now = end
        return done

    def _check(self) -> None:
        for entry in self.fleet.snapshot(self.now):
            name = str(entry["node"])
            runs = entry["state"] in (State.STARTING, State.READY, State.STOPPING)
            assert runs == (name in self.running), f"{entry}: {self.running}"
        assert set(self.running) <= set(self.fleet.names())

    def nodes(self) -> dict[str, Node]:
        return {name: node for name, (_, node) in self.running.items()}


def up(*nodes: Node, auto: bool = True) -> World:
    world = World(auto=auto)
    world.fleet.begin(nodes, 0.0)
    world.settle()
    return world


# -- starting ------------------------------------------------------------------------------


def test_each_waits_for_those_it_needs() -> None:
    world = up(C, B, A, auto=False)
    assert world.starts == ["a"]
    world.fleet.ready("a", 1, 0.0)
    world.settle()
    assert world.starts == ["a", "b"]
    world.fleet.ready("b", 1, 0.0)
    world.settle()
    assert world.starts == ["a", "b", "c"]
    assert not world.fleet.is_up
    world.fleet.ready("c", 1, 0.0)
    assert world.fleet.is_up


def test_who_fails_keeps_nobody_waiting_for_ever() -> None:
    world = up(B, A, auto=False)
    world.die("a")
    world.settle()
    assert world.starts == ["a", "b"]
    assert world.fleet.state("a") is State.BACKING_OFF


def test_only_so_many_start_at_once() -> None:
    world = up(*(Node(f"n{i}", port=10 + i, sketch="x") for i in range(5)), auto=False)
    assert len(world.starts) == 3
    world.fleet.ready("n0", 1, 0.0)
    world.settle()
    assert len(world.starts) == 4


def test_nodes_of_others_are_left_to_them() -> None:
    world = up(Node("far", "pi.local", 1, sketch="x"), Node("raw", port=2), A)
    assert world.fleet.names() == ["a"]


def test_who_is_not_ready_in_time_is_stopped_and_tried_again() -> None:
    world = up(A, auto=False)
    told = world.pass_time(10.0)
    assert Terminate("a", 1) in told
    assert world.fleet.state("a") is State.BACKING_OFF
    world.pass_time(0.5)
    assert world.starts == ["a", "a"]


# -- ending ----------------------------------------------------------------------------------


def test_one_crash_takes_nobody_else() -> None:
    world = up(A, B)
    world.die("a")
    assert world.pass_time(0.4) == [
        Became("a", State.BACKING_OFF, "failed with exit code 1; starts again in 0.5 s")
    ]
    world.pass_time(0.1)
    assert world.fleet.is_up
    assert world.starts == ["a", "b", "a"]


def test_a_crash_loop_ends_in_a_verdict() -> None:
    world = up(replace(A, restart=Restart(most=3)), B)
    world.fate = lambda name: "crash"
    world.die("a")
    last = world.pass_time(60.0)[-1]
    assert last == Became(
        "a",
        State.FAILED,
        "failed with exit code 1; given up: it has ended 3 times within 60 s",
        verdict=True,
    )
    assert world.starts == ["a", "b", "a", "a"]
    assert "b" in world.running
    assert not world.fleet.is_over
    world.fleet.start("a", world.now)
    world.settle()
    assert world.fleet.state("a") is State.BACKING_OFF


def test_who_ends_well_rests_and_the_fleet_is_over_when_all_do() -> None:
    world = up(A)
    world.die("a", failed=False, why="ended")
    world.settle()
    assert world.fleet.state("a") is State.DONE
    assert world.fleet.is_over
    assert world.fleet.is_up


def test_what_is_told_of_an_earlier_run_is_not_looked_at() -> None:
    world = up(A)
    world.die("a")
    world.pass_time(1.0)
    world.fleet.ended("a", 1, world.now, failed=True, why="late news")
    world.fleet.ready("nobody", 1, world.now)
    world.settle()
    assert world.fleet.state("a") is State.READY


# -- by hand -------------------------------------------------------------------------------------


def test_stop_start_and_restart() -> None:
    world = up(A, B)
    world.fleet.stop("a", 0.0)
    world.settle()
    assert world.fleet.state("a") is State.STOPPED
    world.pass_time(100.0)
    assert world.starts == ["a", "b"]
    world.fleet.start("a", world.now)
    world.settle()
    world.fleet.restart("b", world.now)
    world.settle()
    assert world.starts == ["a", "b", "a", "b"]
    assert world.fleet.is_up


def test_who_does_not_stop_is_killed_after_five_seconds() -> None:
    world = up(A)
    world.deaf = {"a"}
    world.fleet.down(0.0)
    assert Kill("a", 1) not in world.pass_time(4.9)
    assert Kill("a", 1) in world.pass_time(0.1)
    assert world.fleet.is_over
    assert world.fleet.killed == ["a"]


def test_kill_does_not_wait() -> None:
    world = up(A, B)
    world.deaf = {"a", "b"}
    world.fleet.kill(0.0)
    world.settle()
    assert world.fleet.is_over


def test_down_ends_whatever_the_state() -> None:
    world = up(C, B, A, auto=False)
    world.fleet.down(0.0)
    world.settle()
    assert world.fleet.is_over
    assert not world.running
    world.pass_time(100.0)
    assert world.starts == ["a"]


# -- changes --------------------------------------------------------------------------------------


def test_a_change_touches_only_what_changed() -> None:
    world = up(A, B)
    moved = replace(A, args={"x": 1})
    new = Node("d", port=4, sketch="x")
    world.fleet.apply([moved, B, new], 7, 0.0)
    done = world.settle()
    assert world.starts == ["a", "b", "a", "d"]
    assert Settled(7) in done
    assert world.nodes() == {"a": moved, "b": B, "d": new}


def test_what_needs_no_restart_settles_at_once() -> None:
    world = up(A, B)
    world.fleet.apply([replace(A, aliases=("z",)), B], 2, 0.0)
    assert world.settle() == [Settled(2)]


def test_ports_may_be_swapped_and_inherited() -> None:
    world = up(A, B)
    new = Node("d", port=9, sketch="x")
    world.fleet.apply([replace(A, port=2), replace(B, port=1)], 1, 0.0)
    assert Settled(1) in world.settle()
    world.fleet.apply([replace(B, port=1), replace(new, port=2)], 2, 0.0)
    assert Settled(2) in world.settle()


def test_nothing_starts_before_all_that_stops_has_stopped() -> None:
    world = up(A, B)
    world.deaf = {"b"}
    world.fleet.apply([A, Node("d", port=2, sketch="x")], 1, 0.0)
    world.settle()
    assert world.starts == ["a", "b"]
    world.pass_time(5.0)
    assert world.starts == ["a", "b", "d"]


@pytest.mark.parametrize("fate", ["crash", "silence"])
def test_a_new_node_that_does_not_become_ready_brings_the_old_state_back(fate: str) -> None:
    world = up(A, B)
    before = world.nodes()
    world.fate = lambda name: fate if name == "d" else "ready"
    world.fleet.apply([replace(A, args={"x": 1}), Node("d", port=2, sketch="x")], 3, 0.0)
    done = world.pass_time(60.0)
    (back,) = [action for action in done if isinstance(action, RolledBack)]
    assert back.number == 3
    assert back.why.startswith("d ")
    assert world.nodes() == before
    assert world.fleet.is_up
    assert world.fleet.names() == ["a", "b"]


def test_a_node_that_was_stopped_by_hand_stays_so_through_a_change_and_back() -> None:
    world = up(A, B)
    world.fleet.stop("a", 0.0)
    world.settle()
    world.fate = lambda name: "crash" if name == "d" else "ready"
    world.fleet.apply([replace(A, port=7), B, Node("d", port=9, sketch="x")], 1, 0.0)
    world.pass_time(60.0)
    assert world.fleet.state("a") is State.STOPPED
    world.fleet.apply([replace(A, port=7), B], 2, world.now)
    world.pass_time(60.0)
    assert world.fleet.state("a") is State.STOPPED
    world.fleet.start("a", world.now)
    world.settle()
    assert world.nodes()["a"].port == 7


def test_a_crash_of_an_old_node_does_not_take_a_change_back() -> None:
    world = up(A, B, auto=True)
    world.auto = False
    world.fleet.apply([A, B, Node("d", port=9, sketch="x")], 1, 0.0)
    world.settle()
    world.die("a")
    world.settle()
    world.fleet.ready("d", 1, 0.0)
    assert Settled(1) in world.settle()


def test_one_change_at_a_time() -> None:
    world = up(A, auto=False)
    world.fleet.apply([A, Node("d", port=9, sketch="x")], 1, 0.0)
    with pytest.raises(RuntimeError, match="one change at a time"):
        world.fleet.apply([A], 2, 0.0)


def test_down_in_the_midst_of_a_change() -> None:
    world = up(A, B, auto=True)
    world.auto = False
    world.fleet.apply([replace(A, port=5), Node("d", port=9, sketch="x")], 1, 0.0)
    world.settle()
    world.fleet.down(0.0)
    world.pass_time(10.0)
    assert world.fleet.is_over
    assert not world.running


# -- fault at every step ---------------------------------------------------------------------------------


def changed(seed: int) -> list[Node]:
    chance = random.Random(seed)
    nodes: list[Node] = []
    for number in range(chance.randint(1, 5)):
        name = chance.choice("abcdef")
        if any(node.name == name for node in nodes):
            continue
        others = [node.name for node in nodes if node.port]
        nodes.append(
            Node(
                name,
                port=None if chance.random() < 0.3 else 10 + number,
                sketch="x",
                target=chance.choice(others) if others and chance.random() < 0.5 else None,
                args={"v": chance.randint(0, 2)},
            )
        )
    return nodes


@pytest.mark.parametrize("fate", ["crash", "silence"])
def test_whichever_start_of_a_change_fails_the_old_state_comes_back(fate: str) -> None:
    before = [A, B, Node("e", port=5, sketch="x")]
    after = [replace(A, port=2), replace(B, port=1), Node("d", port=5, sketch="x"), Node("f", sketch="x")]
    for nth in range(10):
        world = up(*before)
        old = world.nodes()
        fates = iter(["ready"] * nth + [fate])
        world.fate = lambda _, fates=fates: next(fates, "ready")  # type: ignore[misc]
        world.fleet.apply(after, 1, world.now)
        done = world.pass_time(100.0)
        assert not world.fleet.is_changing
        if any(isinstance(action, RolledBack) for action in done):
            assert world.nodes() == old
            assert world.fleet.is_up
        else:
            assert nth >= len(after)
            assert sorted(world.nodes()) == ["a", "b", "d", "f"]
            return
    pytest.fail("the change never went through")


@given(
    st.integers(0, 10**6),
    st.lists(st.sampled_from(["edit", "crash", "stop", "start", "restart", "wait"]), max_size=30),
)
def test_whatever_happens_the_fleet_comes_to_rest_as_wanted(seed: int, steps: list[str]) -> None:
    chance = random.Random(seed)
    world = World()
    world.fate = lambda name: chance.choice(["ready", "ready", "ready", "crash", "silence"])
    world.fleet.begin(changed(seed), 0.0)
    world.settle()
    for number, step in enumerate(steps):
        world.deaf = {name for name in "abcdef" if chance.random() < 0.2}
        names = world.fleet.names()
        if step == "edit" and not world.fleet.is_changing:
            world.fleet.apply(changed(seed + number), number, world.now)
        elif step == "crash" and world.running:
            world.die(chance.choice(sorted(world.running)), failed=chance.random() < 0.8)
        elif step in ("stop", "start", "restart") and names:
            getattr(world.fleet, step)(chance.choice(names), world.now)
        world.pass_time(chance.choice([0.0, 0.3, 4.0, 20.0]))
    world.fate = lambda name: "ready"
    world.deaf = set()
    world.pass_time(500.0)
    assert not world.fleet.is_changing
    assert all(entry["state"] in (State.READY, *RESTS) for entry in world.fleet.snapshot(world.now)), (
        world.fleet.snapshot(world.now)
    )
    world.fleet.down(world.now)
    world.pass_time(10.0)
    assert world.fleet.is_over
    assert not world.running
