"""``ringchat`` as people run it, and rings of real processes whose members die, freeze and are parted."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import RequireTool
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, Proc
from tests.helpers.ring_fleet import NAMES, Hosts, Member, is_ring, mesh_ring, ring_grid

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(180)]


def until(true: Callable[[], bool], within: float = DEADLINE) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)  # nothing to wait on: the members' output is read by threads


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Callable[..., list[Member]]]:
    """Start members on this host."""
    with ExitStack() as stack:
        names = NAMES[:3]
        grid = ring_grid(tmp_path, [(n, "localhost", p) for n, p in zip(names, free_ports(3), strict=True)])

        def start(*some: str) -> list[Member]:
            return [stack.enter_context(Member(name, grid)) for name in some]

        yield start


def wait_for_ring(members: Sequence[Member], names: list[str]) -> None:
    until(lambda: is_ring(members, names), 2 * DEADLINE)


@pytest.mark.source("A1", "A2", "A3", "A18", "A21")
def test_a_chat_of_three_started_in_any_order(chat: Callable[..., list[Member]]) -> None:
    cat, ann, bob = chat("cat", "ann", "bob")
    wait_for_ring([ann, bob, cat], NAMES[:3])
    ann.proc.type("hello, all\n")
    ann.proc.wait_for(r"\] \* hello, all \(seen by bob, cat\)$")
    for member in (bob, cat):
        member.proc.wait_for(r"\] ann: hello, all$")
        assert member.proc.count("hello, all") == 1, "each delivers it once"
    assert ann.proc.count("ann: hello") == 0
    bob.proc.type("/who\n")
    bob.proc.wait_for(r"\] /who bob, cat, ann$")
    cat.proc.type("/quit\n")
    assert cat.proc.wait() == 0, cat.proc
    wait_for_ring([ann, bob], ["ann", "bob"])
    assert ann.proc.count("lost the") == bob.proc.count("lost the") == 0, "cat has said goodbye"


@pytest.mark.source("A18")
def test_one_alone_chats_with_itself_and_the_end_of_input_does_not_stop_it(
    chat: Callable[..., list[Member]],
) -> None:
    (ann,) = chat("ann")
    ann.proc.wait_for("nobody else is there")
    ann.proc.type("anybody?\n")
    ann.proc.wait_for(r"\* anybody\? \(seen by nobody, for nobody else is here\)$")
    assert ann.proc.process.stdin is not None
    ann.proc.process.stdin.close()
    (bob,) = chat("bob")
    wait_for_ring([ann, bob], ["ann", "bob"])
    bob.proc.type("I am late\n")
    ann.proc.wait_for(r"\] bob: I am late$")
    assert ann.proc.stop(signal.SIGTERM) == 0, ann.proc


@pytest.mark.source("A5", "A8")
def test_a_killed_member_is_gone_round_and_comes_back(chat: Callable[..., list[Member]]) -> None:
    ann, bob, cat = chat("ann", "bob", "cat")
    wait_for_ring([ann, bob, cat], NAMES[:3])
    bob.proc.send_signal(signal.SIGKILL)
    wait_for_ring([ann, cat], ["ann", "cat"])
    ann.proc.wait_for("lost the successor bob: ")
    cat.proc.wait_for("lost the predecessor bob: ")
    ann.proc.type("still here\n")
    ann.proc.wait_for(r"\* still here \(seen by cat\)$")
    (bob,) = chat("bob")
    wait_for_ring([ann, bob, cat], NAMES[:3])


def test_the_ring_is_drawn(chat: Callable[..., list[Member]], tmp_path: Path) -> None:
    members = chat("ann", "bob", "cat")
    wait_for_ring(members, NAMES[:3])
    done = mesh_ring("chat", "--once", "--grid", tmp_path / "grid.yaml")
    assert done.process.returncode == 0, done
    assert done.stdout == ["ring chat: closed, 3 of 3 members", "  ann -> bob -> cat -> ann"]


def test_what_a_terminal_would_obey_is_escaped(chat: Callable[..., list[Member]]) -> None:
    ann, bob = chat("ann", "bob")
    wait_for_ring([ann, bob], ["ann", "bob"])
    ann.proc.type("\x1b[2J\x9b\n")
    bob.proc.wait_for(re.escape(r"ann: \x1b[2J"))


# -- each on a host of its own --------------------------------------------------------------


@pytest.fixture
def hosts(require_tool: RequireTool) -> Iterator[Hosts]:
    tools = (require_tool("ip", package="iproute2"), require_tool("nft", package="nftables"))
    if os.geteuid() != 0:
        pytest.skip("needs root, to make network namespaces")
    hosts = Hosts(*tools, count=16)
    try:
        why = hosts.set_up()
        if why is not None:
            pytest.skip(f"no network namespaces here: {why}")
        yield hosts
    finally:
        hosts.tear_down()


@pytest.mark.slow
@pytest.mark.source("A5", "A8", "A20")
def test_sixteen_members_whose_neighbours_die_freeze_and_are_parted(hosts: Hosts, tmp_path: Path) -> None:
    grid = hosts.grid(tmp_path)
    with ExitStack() as stack:
        members = {name: stack.enter_context(hosts.member(name, grid)) for name in hosts.names}

        def ring_of(names: list[str]) -> None:
            until(lambda: is_ring([members[name] for name in names], names), 3 * DEADLINE)

        def tell(what: str, begun: float, gone: list[str], left: list[str]) -> None:
            ring_of(left)
            lost = [members[name].said_at(f"lost the .* ({'|'.join(gone)}): ", begun) for name in left]
            noticed = [at - begun for at in lost if at is not None]
            assert noticed
            print(f"{what}: noticed within {max(noticed):.3f} s")
            members[left[0]].proc.type(f"after {what}\n")
            members[left[0]].proc.wait_for(rf"\* after {what} \(seen by {', '.join(left[1:])}\)$")

        everybody = hosts.names
        ring_of(everybody)

        gone = everybody[4:6]
        left = [name for name in everybody if name not in gone]
        begun = time.monotonic()
        for name in gone:
            members[name].proc.send_signal(signal.SIGSTOP)
        tell("freezing", begun, gone, left)
        for name in gone:
            members[name].proc.send_signal(signal.SIGCONT)
        ring_of(everybody)

        begun = time.monotonic()
        hosts.cut(gone)
        tell("parting", begun, gone, left)
        ring_of(gone)
        hosts.heal()
        ring_of(everybody)

        begun = time.monotonic()
        for name in gone:
            members[name].proc.send_signal(signal.SIGKILL)
        tell("killing", begun, gone, left)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_lost_packets_and_busy_cores_are_no_deaths(hosts: Hosts, tmp_path: Path, soak_seconds: float) -> None:
    grid = hosts.grid(tmp_path)
    with ExitStack() as stack:
        members = {name: stack.enter_context(hosts.member(name, grid)) for name in hosts.names}
        until(lambda: is_ring(members.values(), hosts.names), 3 * DEADLINE)
        time.sleep(2)  # what sixteen programs do that start at once is another matter
        before = {name: hosts.bytes_sent(name) for name in hosts.names}
        begun = time.monotonic()
        time.sleep(3)
        rates = sorted((hosts.bytes_sent(n) - before[n]) / (time.monotonic() - begun) for n in hosts.names)
        assert rates[len(rates) // 2] < 2000

        for _ in range(os.cpu_count() or 1):
            stack.enter_context(Proc("python3", "-c", "while True: pass"))
        since = time.monotonic()
        hosts.lose(5)
        try:
            time.sleep(soak_seconds)
        finally:
            hosts.heal("loss")
        lines = [line for one in members.values() for line in one.proc.lines if line.at > since]
        assert [line.text for line in lines if "lost the" in line.text] == []
        print(f"{soak_seconds:g} s at 5 % loss: no verdict; an idle member sends {rates[-1]:.0f} B/s at most")
