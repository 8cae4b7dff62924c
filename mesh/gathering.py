"""One request to several nodes: the answers by name, and an account of who gave none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mesh.arguments import check_count, check_seconds
from mesh.errors import DeliveryError, GridError, UnknownNodeError
from mesh.node import Node

if TYPE_CHECKING:
    from mesh.gridfile import Grid

Targets = str | Node | Iterable[str | Node]
"""A group, a node, or several nodes, each a node or its name."""


class Gathered(Mapping[str, Any]):
    """What ``gather()`` returns: a mapping from the names of nodes to their answers.

    Each node that was asked is in one of the three, so nobody is forgotten.

    Attributes:
        errors: By name, why there is no answer and will be none: a refusal, an absent node.
        missing: The names of those that had not answered yet when it stopped.

    """

    def __init__(
        self, answers: Mapping[str, Any], errors: Mapping[str, Exception], missing: Iterable[str]
    ) -> None:
        self._answers = dict(answers)
        self.errors = dict(errors)
        self.missing = tuple(missing)

    def __getitem__(self, name: str) -> Any:
        return self._answers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._answers)

    def __len__(self) -> int:
        return len(self._answers)

    def __repr__(self) -> str:
        return f"Gathered({self._answers!r}, errors={self.errors!r}, missing={self.missing!r})"


def nodes_of(targets: Targets, grid: Grid, own: str = "") -> list[Node]:
    """Return the nodes that are meant, each once, in order.

    Args:
        targets: A group of the grid or a node, or several nodes. A node's name comes first: a
            group that is called like a node is found as ``grid.groups[name].members``.
        grid: Where names are looked up.
        own: The name of who asks, which is left out of a group.

    Raises:
        UnknownNodeError: If the grid has no such node.
        GridError: If there is nobody to ask.
        TypeError: If a target is neither a name nor a node.

    """
    if isinstance(targets, str):
        group = grid.groups.get(targets) if grid.get(targets) is None else None
        if group is None:
            found = [_node(targets, grid)]
        else:
            found = [grid.node(member) for member in group.members if member != own]
    elif isinstance(targets, Node):
        found = [targets]
    else:
        found = [grid.node(target) if isinstance(target, str) else target for target in several(targets)]
    by_name: dict[str, Node] = {}
    for node in found:
        if by_name.setdefault(node.name, node) != node:
            raise GridError(f"two of the nodes are called {node.name!r}; the answers are told apart by name")
    if not by_name:
        raise GridError("there is nobody to gather answers from; name a group or some nodes")
    return list(by_name.values())


def several(targets: Targets) -> list[str | Node]:
    """Return several targets, or one, as a list.

    Raises:
        TypeError: If they are neither names nor nodes.

    """
    if isinstance(targets, str | Node):
        return [targets]
    if not isinstance(targets, Iterable):
        raise TypeError(f"targets are the name of a group, a node, or several of them, not {targets!r}")
    found = list(targets)
    for target in found:
        check_target(target)
    return found


def check_target(target: object) -> None:
    """See that a target is a name or a node.

    Raises:
        TypeError: If it is neither.

    """
    if not isinstance(target, str | Node):
        raise TypeError(f"a target is the name of a node or a node, not {target!r}")


def _node(name: str, grid: Grid) -> Node:
    try:
        return grid.node(name)
    except UnknownNodeError as exc:
        if not grid.groups:
            raise
        groups = ", ".join(map(repr, grid.groups))
        raise UnknownNodeError(name, f"{exc}; its groups are {groups}", suggestion=exc.suggestion) from None


def check_limits(targets: int, count: int | None, deadline: float | None, stall: float | None) -> None:
    """See that the limits make sense.

    Raises:
        ValueError: If one does not.
        TypeError: If one is no number.

    """
    check_count("count", count, targets, what="the nodes that are asked")
    check_seconds("deadline", deadline)
    check_seconds("stall", stall)


async def gather(
    nodes: Iterable[Node],
    request: Callable[[Node], Awaitable[Any]],
    *,
    count: int | None,
    deadline: float | None,
    stall: float | None,
) -> Gathered:
    """Ask all nodes at once, and collect what they answer until that is enough.

    Args:
        nodes: Whom to ask.
        request: Asks one of them.
        count: Answers that are enough; ``None`` for all.
        deadline: Seconds after which it stops; ``None`` for none.
        stall: Seconds without a new answer after which it stops; ``None`` for none.

    What still runs when it stops is cancelled, and has ended when this returns.

    Raises:
        ValueError: If a limit makes no sense.
        Exception: What ``request`` raises that is no matter of a node, such as ``PayloadError``.

    """
    nodes = list(nodes)
    check_limits(len(nodes), count, deadline, stall)

    async def ask(node: Node) -> Any:
        return await request(node)

    tasks = {asyncio.create_task(ask(node), name=f"request to {node.name}"): node.name for node in nodes}
    try:
        enough = len(nodes) if count is None else count
        answers, errors = await _collect(tasks, enough, deadline, stall)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    in_order = {node.name: answers[node.name] for node in nodes if node.name in answers}
    missing = [node.name for node in nodes if node.name not in answers and node.name not in errors]
    return Gathered(in_order, errors, missing)


async def _collect(
    tasks: Mapping[asyncio.Task[Any], str], enough: int, deadline: float | None, stall: float | None
) -> tuple[dict[str, Any], dict[str, Exception]]:
    """Return answers and errors by name, once there are enough answers or the time is over."""
    clock = asyncio.get_running_loop().time
    end = None if deadline is None else clock() + deadline
    quiet = None if stall is None else clock() + stall
    running = set(tasks)
    answers: dict[str, Any] = {}
    errors: dict[str, Exception] = {}
    while running and len(answers) < enough:
        until = min((at for at in (end, quiet) if at is not None), default=None)
        left = None if until is None else max(until - clock(), 0.0)
        done, running = await asyncio.wait(running, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            break
        known = len(answers)
        for task in done:
            error = task.exception()
            if error is None:
                answers[tasks[task]] = task.result()
            elif isinstance(error, DeliveryError | GridError):
                errors[tasks[task]] = error
            else:
                raise error
        if stall is not None and len(answers) > known:
            quiet = clock() + stall
    return answers, errors
