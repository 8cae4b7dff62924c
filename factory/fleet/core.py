"""The state of every node of a fleet, and what is to be done next. Decides; does nothing itself.

Events go in with the time at which they happened, actions come out (``take_actions()``), and
``next_deadline()`` says when to call ``handle_timer()``. There is no clock here, and no process.

Rules:

- A process is known by its node and its *run*, which counts the starts of that node. What is told of an
  earlier run is not looked at.
- A node starts when those it waits for are ready, or have had their try.
- A *change* of the grid is applied as a whole. First all that is removed or changed stops, for a new node
  may want the port of an old one. Then what is new or changed starts. If one of those ends, or is not
  ready in time, before all are ready, everything that was stopped or changed comes back.
- Who ends unasked is a matter of its policy (``policy``), and never of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from factory.fleet.actions import (
    RESTS,
    RUNS,
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
from factory.fleet.order import in_order, needs, waits_for
from factory.fleet.plan import is_ours, restarting
from factory.fleet.policy import Again, GiveUp, Tries
from mesh.node import Node


@dataclass(slots=True)
class _Entry:
    """One node."""

    node: Node
    tries: Tries
    state: State = State.WAITING
    run: int = 0
    since: float = 0.0
    deadline: float | None = None
    why: str = ""
    had_its_try: bool = False
    # What follows once it has stopped.
    again: bool = False
    delay: float = 0.0
    given_up: str = ""
    gone: bool = False


@dataclass(slots=True)
class _Change:
    """A change of the grid that is being applied."""

    number: int
    nodes: dict[str, Node]
    before: dict[str, Node]
    # Those that ran before and were stopped for it.
    ran: set[str] = field(default_factory=set)
    # Those that must become ready; started once everything has stopped.
    pending: set[str] = field(default_factory=set)
    stops: bool = True
    taken_back: str = ""


class Fleet:
    """All nodes that a supervisor looks after.

    Args:
        settings: What it grants them.

    Attributes:
        killed: Nodes that did not end by themselves when they were asked to.

    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._entries: dict[str, _Entry] = {}
        self._waits: Mapping[str, frozenset[str]] = {}
        self._order: list[str] = []
        self._actions: list[Action] = []
        self._change: _Change | None = None
        self._ending = False
        self.killed: list[str] = []

    # -- what is wanted ------------------------------------------------------------------------

    def begin(self, nodes: Iterable[Node], now: float) -> None:
        """Bring nodes up for the first time: each for itself, with its policy."""
        for node in nodes:
            if is_ours(node):
                self._entries[node.name] = _Entry(node, Tries(node.restart), since=now)
        self._reorder()
        self._go_on(now)

    def apply(self, nodes: Iterable[Node], number: int, now: float) -> None:
        """Change to another grid, as a whole; ``Settled`` or ``RolledBack`` tells how it went.

        Args:
            nodes: All nodes that are wanted from now on.
            number: Of the change, for ``Settled`` and ``RolledBack``.
            now: The time.

        Raises:
            RuntimeError: If another change is being applied.

        """
        if self._change is not None:
            raise RuntimeError("one change at a time: wait for Settled or RolledBack")
        wanted = {node.name: node for node in nodes if is_ours(node)}
        before = {name: entry.node for name, entry in self._entries.items()}
        change = self._change = _Change(number, wanted, before)
        for name, entry in list(self._entries.items()):
            node = wanted.get(name)
            if node is None:
                self._take_away(name, entry, change, now)
            elif restarting(entry.node, node):
                self._replace(entry, node, change, now)
            else:
                entry.node = node
                entry.tries.restart = node.restart
        for name, node in wanted.items():
            if name not in self._entries:
                self._entries[name] = _Entry(node, Tries(node.restart), since=now)
                change.pending.add(name)
        self._reorder()
        self._go_on(now)

    def start(self, name: str, now: float) -> None:
        """Start a node that does not run; its former failures count no more."""
        entry = self._entries[name]
        entry.tries.forget()
        if entry.state is State.STOPPING:
            entry.again, entry.delay, entry.given_up = not entry.gone, 0.0, ""
        elif entry.state in RESTS or entry.state is State.BACKING_OFF:
            self._become(entry, State.WAITING, now)
        self._go_on(now)

    def stop(self, name: str, now: float) -> None:
        """Stop a node, until somebody starts it."""
        entry = self._entries[name]
        entry.again, entry.given_up = False, ""
        if self._change is not None:
            self._change.pending.discard(name)
            self._change.ran.discard(name)
        if entry.state in (State.STARTING, State.READY):
            self._terminate(entry, now)
        elif entry.state in (State.WAITING, State.BACKING_OFF):
            self._become(entry, State.STOPPED, now)
        self._go_on(now)

    def restart(self, name: str, now: float) -> None:
        """Stop a node if it runs, and start it."""
        entry = self._entries[name]
        entry.tries.forget()
        if entry.state in (State.STARTING, State.READY):
            self._terminate(entry, now)
            entry.again = True
            self._go_on(now)
        else:
            self.start(name, now)

    def down(self, now: float) -> None:
        """Stop everything for good; a change that is being applied is left as it is."""
        self._ending = True
        self._change = None
        for name in list(self._entries):
            self.stop(name, now)

    def kill(self, now: float) -> None:
        """Stop everything by force."""
        self.down(now)
        for entry in self._entries.values():
            if entry.state in RUNS:
                self._kill(entry)

    # -- what happened -------------------------------------------------------------------------------

    def ready(self, name: str, run: int, now: float) -> None:
        """Take note that a node serves, or runs."""
        entry = self._current(name, run)
        if entry is None or entry.state is not State.STARTING:
            return
        entry.had_its_try = True
        self._become(entry, State.READY, now)
        if self._change is not None:
            self._change.pending.discard(name)
        self._go_on(now)

    def ended(self, name: str, run: int, now: float, *, failed: bool, why: str) -> None:
        """Take note that a process has ended, with all that it has started, or could not be started.

        Args:
            name: The node.
            run: Its run.
            now: The time.
            failed: Whether that is a failure.
            why: How it ended, for people.

        """
        entry = self._current(name, run)
        if entry is None or entry.state not in RUNS:
            return
        entry.had_its_try = True
        if entry.state is State.STOPPING:
            self._stopped(name, entry, now)
        elif self._change is not None and failed and self._is_of_change(name):
            self._become(entry, State.FAILED, now, why, verdict=True)
            self._take_back(self._change, f"{name} {why}", now)
        else:
            self._decide(name, entry, now, failed=failed, why=why)
        self._go_on(now)

    def next_deadline(self) -> float | None:
        """Return when ``handle_timer()`` is to be called next."""
        return min(
            (entry.deadline for entry in self._entries.values() if entry.deadline is not None), default=None
        )

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        for entry in list(self._entries.values()):
            if entry.deadline is None or entry.deadline > now:
                continue
            entry.deadline = None
            if entry.state is State.BACKING_OFF:
                self._become(entry, State.WAITING, now)
            elif entry.state is State.STARTING:
                self._too_late(entry, now)
            elif entry.state is State.STOPPING:
                self.killed.append(entry.node.name)
                self._kill(entry)
        self._go_on(now)

    def take_actions(self) -> list[Action]:
        """Return what is to be done, in order; each once."""
        actions, self._actions = self._actions, []
        return actions

    # -- how things are ------------------------------------------------------------------------------

    @property
    def is_changing(self) -> bool:
        """Whether a change is being applied."""
        return self._change is not None

    @property
    def is_over(self) -> bool:
        """Whether nothing runs, and nothing will by itself."""
        return all(entry.state in RESTS for entry in self._entries.values())

    @property
    def is_up(self) -> bool:
        """Whether all that is wanted is ready, or has ended well."""
        up = (State.READY, State.DONE, State.STOPPED)
        return self._change is None and all(entry.state in up for entry in self._entries.values())

    def names(self) -> list[str]:
        """Return the nodes it looks after, in the order of their starts."""
        return list(self._order)

    def state(self, name: str) -> State | None:
        """Return the state of a node, if it looks after it."""
        entry = self._entries.get(name)
        return None if entry is None else entry.state

    def snapshot(self, now: float) -> list[dict[str, object]]:
        """Return what is known of each node, in the order of their starts."""
        return [
            {
                "node": name,
                "state": entry.state.value,
                "run": entry.run,
                "for": round(now - entry.since, 3),
                "why": entry.why,
            }
            for name in self._order
            for entry in [self._entries[name]]
        ]

    # -- a change ------------------------------------------------------------------------------------

    def _take_away(self, name: str, entry: _Entry, change: _Change, now: float) -> None:
        if entry.state in RUNS:
            change.ran.add(name)
            entry.gone = True
            entry.again = False
            if entry.state is not State.STOPPING:
                self._terminate(entry, now)
        else:
            if entry.state not in RESTS:
                change.ran.add(name)
            self._forget(name)

    def _replace(self, entry: _Entry, node: Node, change: _Change, now: float) -> None:
        name = node.name
        was_stopped = entry.state is State.STOPPED or (entry.state is State.STOPPING and not entry.again)
        entry.node = node
        entry.tries = Tries(node.restart)
        if was_stopped:
            return  # somebody stopped it, and only they start it
        if entry.state not in RESTS:
            change.ran.add(name)
        change.pending.add(name)
        if entry.state in (State.STARTING, State.READY):
            self._terminate(entry, now)
            entry.again = True
        elif entry.state is not State.STOPPING:
            self._become(entry, State.WAITING, now)

    def _is_of_change(self, name: str) -> bool:
        """Say whether a node was started for the change that is being applied."""
        change = self._change
        if change is None or change.stops or change.taken_back:
            return False
        return change.before.get(name) is None or bool(restarting(change.before[name], change.nodes[name]))

    def _take_back(self, change: _Change, why: str, now: float) -> None:
        """Stop what was started for a change; the rest follows once that has ended."""
        if change.taken_back:
            return
        change.taken_back = why
        change.stops = True
        change.pending.clear()
        for name, entry in list(self._entries.items()):
            old = change.before.get(name)
            if old is None:
                entry.gone = True
                entry.again = False
                if entry.state in (State.STARTING, State.READY):
                    self._terminate(entry, now)
                elif entry.state is not State.STOPPING:
                    self._forget(name)
            elif restarting(old, entry.node):
                entry.node = old
                entry.tries = Tries(old.restart)
                runs = name in change.ran
                if entry.state in (State.STARTING, State.READY):
                    self._terminate(entry, now)
                if entry.state is State.STOPPING:
                    entry.again = runs
                elif entry.state is not State.STOPPED:
                    self._become(entry, State.WAITING if runs else State.STOPPED, now)
            else:
                entry.node = old
                entry.tries.restart = old.restart

    def _step(self, now: float) -> None:
        """Take a change as far as it goes now."""
        change = self._change
        if change is None or any(entry.state is State.STOPPING for entry in self._entries.values()):
            return
        change.stops = False
        if change.taken_back:
            for name, node in change.before.items():
                if name not in self._entries:
                    made = self._entries[name] = _Entry(node, Tries(node.restart), since=now)
                    if name not in change.ran:
                        made.state = State.STOPPED
            self._change = None
            self._reorder()
            self._actions.append(RolledBack(change.number, change.taken_back))
        elif not change.pending:
            self._change = None
            self._actions.append(Settled(change.number))

    # -- within --------------------------------------------------------------------------------------

    def _reorder(self) -> None:
        need = needs(entry.node for entry in self._entries.values())
        self._waits = waits_for(need)
        self._order = in_order(self._entries.keys(), need)

    def _forget(self, name: str) -> None:
        del self._entries[name]
        if name in self._order:
            self._order.remove(name)

    def _go_on(self, now: float) -> None:
        """Start what may start now."""
        self._step(now)
        if self._ending or (self._change is not None and self._change.stops):
            return
        busy = sum(entry.state is State.STARTING for entry in self._entries.values())
        for name in self._order:
            entry = self._entries.get(name)
            if entry is None or entry.state is not State.WAITING or busy >= self._settings.at_once:
                continue
            if all(self._had_its_try(other) for other in self._waits.get(name, ())):
                busy += 1
                entry.run += 1
                entry.deadline = now + self._settings.start
                self._become(entry, State.STARTING, now, keep=True)
                self._actions.append(Start(entry.node, entry.run))

    def _had_its_try(self, name: str) -> bool:
        entry = self._entries.get(name)
        return entry is None or entry.had_its_try or entry.state in RESTS

    def _current(self, name: str, run: int) -> _Entry | None:
        entry = self._entries.get(name)
        return entry if entry is not None and entry.run == run else None

    def _decide(self, name: str, entry: _Entry, now: float, *, failed: bool, why: str) -> None:
        """Do what the policy says of an end that nobody asked for."""
        if self._change is not None:
            self._change.pending.discard(name)
        decision = entry.tries.ended(now, failed=failed)
        if isinstance(decision, Again):
            self._become(entry, State.BACKING_OFF, now, f"{why}; starts again in {decision.delay:g} s")
            entry.deadline = now + decision.delay
        elif isinstance(decision, GiveUp):
            self._become(entry, State.FAILED, now, f"{why}; given up: {decision.why}", verdict=True)
        else:
            self._become(entry, State.DONE, now, why)

    def _too_late(self, entry: _Entry, now: float) -> None:
        name, why = entry.node.name, f"was not ready within {self._settings.start:g} s"
        entry.had_its_try = True
        if self._change is not None and self._is_of_change(name):
            self._take_back(self._change, f"{name} {why}", now)
            return
        # It is stopped first; what the policy says follows from its end.
        decision = entry.tries.ended(now, failed=True)
        self._terminate(entry, now, why)
        if isinstance(decision, Again):
            entry.again, entry.delay = True, decision.delay
        elif isinstance(decision, GiveUp):
            entry.given_up = f"{why}; given up: {decision.why}"

    def _terminate(self, entry: _Entry, now: float, why: str = "") -> None:
        entry.again, entry.delay, entry.given_up = False, 0.0, ""
        entry.deadline = now + self._settings.stop
        self._become(entry, State.STOPPING, now, why, keep=True)
        self._actions.append(Terminate(entry.node.name, entry.run))

    def _kill(self, entry: _Entry) -> None:
        self._actions.append(Kill(entry.node.name, entry.run))

    def _stopped(self, name: str, entry: _Entry, now: float) -> None:
        if entry.gone:
            self._forget(name)
            self._actions.append(Became(name, State.STOPPED, "removed"))
        elif entry.again and not self._ending:
            if entry.delay:
                self._become(entry, State.BACKING_OFF, now, f"{entry.why}; starts again in {entry.delay:g} s")
                entry.deadline = now + entry.delay
            else:
                self._become(entry, State.WAITING, now)
        elif entry.given_up:
            self._become(entry, State.FAILED, now, entry.given_up, verdict=True)
        else:
            self._become(entry, State.STOPPED, now)

    def _become(
        self,
        entry: _Entry,
        state: State,
        now: float,
        why: str = "",
        *,
        verdict: bool = False,
        keep: bool = False,
    ) -> None:
        if not keep:
            entry.deadline = None
        entry.state, entry.since, entry.why = state, now, why
        self._actions.append(Became(entry.node.name, state, why, verdict))
