"""Simulated boards for tests: their clock stands still until it is moved."""

from __future__ import annotations

from factory.boards import PROFILES, Bench, Edge, SimBoard


def board(kind: str = "uno", *, name: str = "", bench: Bench | None = None, **more: int) -> SimBoard:
    """Return a simulated board, on a bench of its own unless one is given."""
    return SimBoard(name or kind, PROFILES[kind], bench or Bench(), **more)


def shown(edges: list[Edge]) -> list[tuple[int, str, int]]:
    """Return pin, signal and value of edges."""
    return [(edge.pin, edge.signal.name, edge.value) for edge in edges]
