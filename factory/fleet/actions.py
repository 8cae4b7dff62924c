"""The states of a node, and what the core of a fleet wants to have done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mesh.node import Node


class State(StrEnum):
    """Where a node is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    BACKING_OFF = "backing off"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"


RUNS = frozenset({State.STARTING, State.READY, State.STOPPING})
"""States in which there is a process."""

RESTS = frozenset({State.STOPPED, State.DONE, State.FAILED})
"""States in which nothing more happens by itself."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a fleet grants its nodes.

    Attributes:
        start: Seconds that a node may take to become ready.
        stop: Seconds between SIGTERM and SIGKILL.
        at_once: Nodes that may be starting at the same time.

    """

    start: float = 15.0
    stop: float = 5.0
    at_once: int = 4


# -- what is to be done ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Start a process for a node; ``ready()`` and ``ended()`` are to be told of it."""

    node: Node
    run: int


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask a process to end."""

    name: str
    run: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End a process by force."""

    name: str
    run: int


@dataclass(frozen=True, slots=True)
class Became:
    """Tell that a node is in another state.

    Attributes:
        name: The node.
        state: Its state from now on.
        why: For people; may be empty.
        verdict: Whether this is the end of a node that failed, so that its last lines are of interest.

    """

    name: str
    state: State
    why: str = ""
    verdict: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """Tell everybody that a change is complete: its grid is what counts from now on."""

    number: int


@dataclass(frozen=True, slots=True)
class RolledBack:
    """Tell that a change was taken back.

    Attributes:
        number: Of the change.
        why: For people.

    """

    number: int
    why: str


Action = Start | Terminate | Kill | Became | Settled | RolledBack
