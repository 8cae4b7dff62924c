"""Rings in memory: real cores, a network that breaks on request, and time moved by hand.

The network is like TCP: what is sent on a connection arrives in order or not at all. A lost
packet is sent again later and holds up what is behind it; what is sent across a cut waits for
its end. The kernel's evidence that something arrived, in order or not, is given to the core as
on Linux. A frozen process takes no input and no timer until it thaws, but its kernel does.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import msgspec

from mesh.protocol.ring import (
    Changed,
    Dial,
    Event,
    Failed,
    HangUp,
    Left,
    Lost,
    Receipted,
    Ring,
    RingSettings,
    Rolled,
    Taken,
    Told,
)

LATENCY = 0.001
RETRY = 0.2
"""Seconds after which a lost packet is sent again, the first time."""
HEADERS = 52 + 6
"""Bytes of a segment and of a websocket message besides what is in it: TCP, IP and a mask."""


class Pipe:
    """One direction of a connection."""

    def __init__(self, sim: Sim, source: Process, target: Process) -> None:
        self.sim, self.source, self.target = sim, source, target
        self.id = 0
        """What the target calls the connection."""
        self.queue: deque[tuple[float, bytes | None]] = deque()
        self.waiting = False
        self.retries = 0

    def put(self, data: bytes | None) -> None:
        """Send a frame; ``None`` is the end."""
        sim = self.sim
        at = sim.now + sim.latency * sim.random.uniform(0.5, 1.5)
        delay = RETRY
        while sim.random.random() < sim.loss:
            at += delay
            delay *= 2
        if data is not None:
            self.source.bytes_sent += len(data) + HEADERS
            sim.at(at, self.kernel)
        self.queue.append((at, data))
        self.plan()

    def kernel(self) -> None:
        """A segment has arrived, whether or not those before it have."""
        if not self.sim.is_cut(self.source.name, self.target.name):
            self.target.call(lambda now: self.target.ring.heard(self.id, now))

    def plan(self, delay: float = 0.0) -> None:
        if self.queue and not self.waiting:
            self.waiting = True
            self.sim.at(max(self.queue[0][0], self.sim.now + delay), self.arrive)

    def arrive(self) -> None:
        self.waiting = False
        if self.sim.is_cut(self.source.name, self.target.name):
            self.retries += 1
            self.plan(min(RETRY * 2**self.retries, 2.0))
            return
        self.retries = 0
        while self.queue and self.queue[0][0] <= self.sim.now:
            _, data = self.queue.popleft()
            self.target.arrived(self.id, data)
        self.plan()


class Process:
    """One member's process: a core, and what it did."""

    def __init__(self, sim: Sim, name: str, number: int) -> None:
        self.sim, self.name = sim, name
        self.incarnation = f"{name}.{number}"
        self.ring = Ring(
            "chat", name, self.incarnation, sim.members, random=Random(number), settings=sim.settings
        )
        self.alive, self.frozen = True, False
        self.waiting: list[Callable[[float], object]] = []
        self.pipes: dict[int, Pipe] = {}
        self.opening: set[Pipe] = set()
        self.timer = 0
        self.bytes_sent = 0
        self.delivered: dict[str, list[int]] = defaultdict(list)
        self.receipts: dict[int, tuple[str, ...]] = {}
        self.failed: dict[int, Failed] = {}
        self.pending: set[int] = set()
        self.rolled: dict[int, tuple[str, ...]] = {}
        self.lost: list[tuple[float, Lost]] = []
        self.told: list[str] = []
        self.changes: list[tuple[float, Changed]] = []

    def call(self, act: Callable[[float], object]) -> None:
        """Let the process do something, now or when it thaws."""
        if not self.alive:
            return
        if self.frozen:
            self.waiting.append(act)
            return
        act(self.sim.now)
        self.pump()

    def arrived(self, id: int, data: bytes | None) -> None:
        if data is None:
            self.call(lambda now: self.ended(id, now))
        else:
            self.call(lambda now: self.ring.receive(id, data, now))

    def ended(self, id: int, now: float) -> None:
        self.pipes.pop(id, None)
        self.ring.connection_lost(id, now, "connection closed")

    def pump(self) -> None:
        sim, ring = self.sim, self.ring
        while True:
            for id, frame in ring.data_to_send(sim.now):
                if id in self.pipes:
                    self.pipes[id].put(frame)
            event = ring.next_event()
            if event is None:
                break
            self.happened(event)
        due = ring.next_deadline()
        self.timer += 1
        if due < float("inf"):
            sim.at(max(due, sim.now), partial(self.wake, self.timer))

    def wake(self, timer: int) -> None:
        if timer == self.timer:
            self.call(self.ring.handle_timer)

    def happened(self, event: Event) -> None:
        sim = self.sim
        match event:
            case Dial(id, name):
                sim.dial(self, id, name)
            case HangUp(id, _):
                pipe = self.pipes.pop(id, None)
                if pipe is not None:
                    pipe.put(None)
            case Taken(sender, incarnation, items):
                numbers = [int(msgspec.msgpack.decode(item)) for item in items]
                self.delivered[incarnation] += numbers
                sim.at(
                    sim.now + sim.random.uniform(0, sim.handling),
                    lambda: self.call(lambda now: self.ring.handled(sender, incarnation, len(items), now)),
                )
            case Receipted(owners, seen):
                for owner in owners:
                    self.settle(owner)
                    self.receipts[owner] = seen
            case Failed(owner):
                self.settle(owner)
                self.failed[owner] = event
            case Rolled(number, names):
                self.rolled[number] = names
            case Lost():
                self.lost.append((sim.now, event))
                sim.losses.append((sim.now, self.name, event))
            case Changed():
                self.changes.append((sim.now, event))
            case Told(text):
                self.told.append(text)
            case Left():
                self.die()
            case _:
                pass

    def settle(self, owner: int) -> None:
        assert owner in self.pending, f"message {owner} of {self.name} is settled twice"
        self.pending.discard(owner)

    def circulate(self, patience: float | None = None) -> int | None:
        """Send the next number round; ``None`` if there is no room, or the process leaves."""
        if not self.alive or self.frozen or self.ring.is_leaving:
            return None
        number = next(self.sim.numbers)
        self.pending.add(number)
        self.sim.sent_at[number] = (self.sim.now, self.incarnation)
        if not self.ring.circulate(number, msgspec.msgpack.encode(number), self.sim.now, patience):
            self.pending.discard(number)
            return None
        self.pump()
        return number

    def die(self) -> None:
        self.alive = False
        self.waiting.clear()
        for pipe in (*self.pipes.values(), *self.opening):
            pipe.put(None)
        self.pipes.clear()
        self.opening.clear()


@dataclass
class Sim:
    """Some members, a network and a clock."""

    members: list[str]
    seed: int
    settings: RingSettings = field(default_factory=RingSettings)
    latency: float = LATENCY
    loss: float = 0.0
    handling: float = 0.002

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.now = 1000.0
        self.processes: dict[str, Process] = {}
        self.all: list[Process] = []
        self.cuts: set[frozenset[str]] = set()
        self.numbers = itertools.count(1)
        self.sent_at: dict[int, tuple[float, str]] = {}
        self.losses: list[tuple[float, str, Lost]] = []
        self.counts: Counter[str] = Counter()
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    # -- time ------------------------------------------------------------------------------

    def at(self, time: float, act: Callable[[], object]) -> None:
        heapq.heappush(self._heap, (time, next(self._order), act))

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; return whether ``until`` came true."""
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self.now, _, act = heapq.heappop(self._heap)
            act()
            if until is not None and until():
                return True
        self.now = end
        return until is not None and until()

    # -- network ---------------------------------------------------------------------------

    def is_cut(self, a: str, b: str) -> bool:
        return frozenset((a, b)) in self.cuts

    def cut(self, some: Iterable[str]) -> None:
        """Part some members from all others."""
        inside = set(some)
        self.cuts |= {frozenset((a, b)) for a in inside for b in self.members if b not in inside}

    def heal(self) -> None:
        self.cuts.clear()

    def dial(self, source: Process, id: int, name: str) -> None:
        def arrive() -> None:
            if self.is_cut(source.name, name):
                return
            target = self.processes.get(name)
            if target is None or not target.alive:
                self.at(
                    self.now + self.latency,
                    lambda: source.call(lambda now: source.ring.connection_lost(id, now, "refused")),
                )
                return
            target.call(lambda now: accept(target))

        def accept(target: Process) -> None:
            there, back = Pipe(self, source, target), Pipe(self, target, source)
            there.id = target.ring.accepted(self.now)
            back.id = id
            target.pipes[there.id] = back
            self.at(self.now + self.latency, lambda: reached(there))

        def reached(there: Pipe) -> None:
            if source.alive:
                source.opening.add(there)
                source.call(lambda now: opened(there))
            else:
                there.put(None)

        def opened(there: Pipe) -> None:
            source.opening.discard(there)
            if id in source.ring.connections:
                source.pipes[id] = there
                source.ring.connected(id, self.now)
            else:
                there.put(None)

        self.at(self.now + self.latency, arrive)

    # -- processes ---------------------------------------------------------------------------

    def start(self, name: str) -> Process:
        process = self.processes[name] = Process(self, name, len(self.all))
        self.all.append(process)
        process.call(process.ring.start)
        return process

    def start_all(self, seconds: float = 3.0) -> None:
        for name in self.members:
            self.start(name)
        assert self.run(seconds, self.is_ring), self.picture()

    def kill(self, name: str) -> None:
        self.processes[name].die()

    def leave(self, name: str) -> None:
        process = self.processes[name]
        process.call(process.ring.leave)

    def freeze(self, name: str) -> None:
        self.processes[name].frozen = True

    def thaw(self, name: str) -> None:
        process = self.processes[name]
        if process.frozen:
            process.frozen = False
            waiting, process.waiting = process.waiting, []
            for act in waiting:
                process.call(act)
            process.call(process.ring.handle_timer)

    @property
    def living(self) -> list[Process]:
        """Processes that run, in the order of the ring."""
        found = (self.processes.get(name) for name in self.members)
        return [one for one in found if one is not None and one.alive]

    # -- what must hold ------------------------------------------------------------------------

    def is_ring(self, among: Iterable[str] | None = None) -> bool:
        """Say whether the living, or some of them, are one ring in the right order."""
        some = None if among is None else set(among)
        living = [one for one in self.living if some is None or one.name in some]
        for one, other in zip(living, living[1:] + living[:1], strict=True):
            if len(living) == 1:
                return one.ring.is_lone and one.ring.predecessor is None
            if one.ring.successor != other.name or other.ring.predecessor != one.name:
                return False
        return True

    def picture(self) -> str:
        lines = [f"seed {self.seed}, at {self.now - 1000:.3f}"]
        for one in self.living:
            ring = one.ring
            state = (
                "frozen" if one.frozen else "leaving" if ring.is_leaving else "lone" if ring.is_lone else ""
            )
            lines.append(
                f"  {ring.predecessor} -> {one.incarnation} -> {ring.successor} {state} "
                f"pending {sorted(one.pending)} connections {len(one.pipes)} {dict(ring.traffic.counts)}"
            )
        return "\n".join(lines)

    def check_always(self) -> None:
        """Check what holds at every moment: once each, in order, and receipts that tell the truth."""
        delivered: dict[str, set[int]] = defaultdict(set)
        for one in self.all:
            for incarnation, numbers in one.delivered.items():
                assert all(a < b for a, b in itertools.pairwise(numbers)), (
                    f"{one.incarnation} got of {incarnation} {numbers}\n{self.picture()}"
                )
                delivered[one.name].update(numbers)
        for one in self.all:
            for number, seen in one.receipts.items():
                assert len(set(seen)) == len(seen), f"{number}: {seen}\n{self.picture()}"
                assert one.name not in seen
                for name in seen:
                    assert number in delivered[name], (
                        f"the receipt of {number} names {name}, which did not get it\n{self.picture()}"
                    )
            counts = one.ring.traffic.counts
            ends = ("receipted", "no receipt", "cancelled", "closed")
            settled = sum(counts[end] for end in ends)
            assert counts["circulated"] == settled + one.ring.traffic.in_flight, (one.incarnation, counts)
            under_way = one.ring.traffic.in_hand + one.ring.traffic.kept
            assert counts["taken"] == counts["handled"] + counts["refused"] + under_way, one.incarnation

    def check_calm(self, seconds: float = 10.0) -> float:
        """End all faults; check that one ring comes of it, with all that was owed; return how long."""
        self.heal()
        self.loss = 0.0
        for one in self.living:
            self.thaw(one.name)
        begun = self.now
        self.run(self.settings.timeout)  # what was silent until now may be given up for that still
        assert self.run(seconds, self.is_calm), f"no peace within {seconds} s\n{self.picture()}"
        took = self.now - begun
        self.check_always()
        self.run(1.0)
        # Copies that waited on a slow wire may come still, and be handled by who has not had them.
        lasts = self.is_ring() and not any(one.pending for one in self.living)
        assert lasts, f"peace did not last\n{self.picture()}"
        names = [one.name for one in self.living]
        last = {one.name: one.circulate() for one in self.living}
        assert self.run(2.0, self.is_calm), self.picture()
        self.check_always()
        for at, one in enumerate(self.living):
            number = last[one.name]
            assert number is not None
            others = (*names[at + 1 :], *names[:at])
            assert one.receipts[number] == others, f"{one.receipts[number]} is not {others}\n{self.picture()}"
        ends = 2 if len(names) > 1 else 0
        # What was parted from us may have a goodbye on its way still, and a stranger gets 5 s to say HELLO.
        assert self.run(8.0, lambda: all(len(one.pipes) == ends for one in self.living)), self.picture()
        return took

    def is_calm(self) -> bool:
        """Say whether there is one ring, and every receipt is in."""
        return (
            not any(one.pending or one.ring.is_leaving for one in self.living)
            and self.is_ring()
            and all(one.ring.traffic.passing == 0 for one in self.living)
        )


def names(count: int) -> list[str]:
    """Return names of members."""
    return [f"n{number}" for number in range(count)]


def storm(sim: Sim, steps: int = 25) -> list[Any]:
    """Let faults, messages and time come as the seed has it; return what was done."""
    random, done = sim.random, []
    sim.loss = random.choice((0.0, 0.0, 0.05))
    sim.handling = random.choice((0.0, 0.002, 0.05))
    for name in sim.members:
        if random.random() < 0.7:
            sim.start(name)
    for _ in range(steps):
        living = [one for one in sim.living if not one.frozen]
        kind = random.choice(
            (
                "start",
                "start",
                "start",
                "leave",
                "kill",
                "kill",
                "freeze",
                "thaw",
                "cut",
                "heal",
                "talk",
                "talk",
                "talk",
            )
        )
        name = random.choice(sim.members)
        process = sim.processes.get(name)
        runs = process is not None and process.alive
        done.append((round(sim.now - 1000, 3), kind, name))
        if kind == "start" and not runs:
            sim.start(name)
        elif kind == "leave" and runs:
            sim.leave(name)
        elif kind == "kill" and runs:
            at = sim.members.index(name)
            for neighbour in (sim.members[at], sim.members[(at + 1) % len(sim.members)])[
                : random.choice((1, 2))
            ]:
                if (one := sim.processes.get(neighbour)) is not None and one.alive:
                    sim.kill(neighbour)
        elif kind == "freeze" and runs:
            sim.freeze(name)
        elif kind == "thaw" and runs:
            sim.thaw(name)
        elif kind == "cut":
            sim.cut(random.sample(sim.members, random.randint(1, max(1, len(sim.members) // 2))))
        elif kind == "heal":
            sim.heal()
        elif kind == "talk":
            for one in living:
                for _ in range(random.choice((1, 3, 100))):
                    one.circulate()
        sim.run(random.choice((0.0005, 0.002, 0.01, 0.1, 0.3, 0.7, 1.5)))
        sim.check_always()
    return done
