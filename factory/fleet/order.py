"""Who starts before whom.

A node needs those it sends to first (``target``) and those it subscribes to. Nodes that need each other
in a circle start together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from mesh.node import Node

Needs = Mapping[str, frozenset[str]]
"""By name, the nodes that have to be up before."""


def needs(nodes: Iterable[Node]) -> dict[str, frozenset[str]]:
    """Return, by name, which of these nodes each one needs."""
    known = {node.name: node for node in nodes}
    return {node.name: frozenset(_wanted(node)) & known.keys() - {node.name} for node in known.values()}


def _wanted(node: Node) -> list[str]:
    return [*([node.target] if node.target else []), *(wire.source for wire in node.subscribes)]


def with_needs(names: Iterable[str], need: Needs) -> set[str]:
    """Return these names, and all that they need, directly or not."""
    found: set[str] = set()
    open_ = list(names)
    while open_:
        name = open_.pop()
        if name not in found:
            found.add(name)
            open_ += need.get(name, ())
    return found


def circles(need: Needs) -> list[list[str]]:
    """Return groups of names in an order in which each group needs only those before it.

    A group has several members if they need each other; else one. (Tarjan's algorithm, without
    recursion, for a chain may be long.)
    """
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[list[str]] = []
    for root in need:
        if root in numbers:
            continue
        path = [(root, iter(sorted(need[root])))]
        while path:
            name, rest = path[-1]
            if name not in numbers:
                numbers[name] = lowest[name] = len(numbers)
                stack.append(name)
                on_stack.add(name)
            for other in rest:
                if other not in numbers:
                    path.append((other, iter(sorted(need.get(other, ())))))
                    break
                if other in on_stack:
                    lowest[name] = min(lowest[name], numbers[other])
            else:
                path.pop()
                if path:
                    parent = path[-1][0]
                    lowest[parent] = min(lowest[parent], lowest[name])
                if lowest[name] == numbers[name]:
                    group = stack[stack.index(name) :]
                    del stack[len(stack) - len(group) :]
                    on_stack.difference_update(group)
                    found.append(sorted(group))
    return found


def waits_for(need: Needs) -> dict[str, frozenset[str]]:
    """Return, by name, whom each node waits for at the start: those it needs, but not in a circle."""
    waits: dict[str, frozenset[str]] = {}
    for group in circles(need):
        together = frozenset(group)
        for name in group:
            waits[name] = frozenset(need[name]) - together
    return waits


def in_order(names: Collection[str], need: Needs) -> list[str]:
    """Return names in an order in which they may start."""
    return [name for group in circles(need) for name in group if name in names]
