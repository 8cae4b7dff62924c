"""What a sketch subscribes to: its own handlers with a source, and what the grid wires to it.

- ``@reactive("tick", source="blink")`` names a handler that takes nothing else.
- ``subscribes:`` of an entry of the grid wires a channel to the handler that takes it anyway. Where
  both name the same channel of the same source, the grid's policy and limit count.
- A source with a port is dialled. One without a port dials those whom the grid wires to it, so that
  is what this side of it does, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.plan import Handler, Plan
from mesh.errors import GridError, MeshError
from mesh.gridfile import Grid
from mesh.links.inbox import Messages, Route
from mesh.links.subscribing import Subscribing, Values, Want
from mesh.node import Node
from mesh.protocol.fanout import settled_policy
from mesh.text import listing

if TYPE_CHECKING:
    from mesh.links.shell import LinkShell


@dataclass(frozen=True, slots=True)
class Wiring:
    """One channel of one source.

    Attributes:
        source: The node that publishes.
        channel: The channel.
        policy: What the source does when we are slow.
        limit: Values that may wait there.
        handler: The handler that is for this source alone; ``None`` for the one that takes the channel.

    """

    source: Node
    channel: str
    policy: str
    limit: int
    handler: Handler | None

    def is_like(self, other: Wiring) -> bool:
        """Whether another one asks for the same, wherever the source is."""
        return (self.policy, self.limit, self.handler) == (other.policy, other.limit, other.handler)


def wirings(me: Node, grid: Grid, plan: Plan) -> list[Wiring]:
    """Return all that a sketch subscribes to.

    Raises:
        GridError: If a source is not in the grid or is the sketch itself, or if no handler
            takes a channel that the grid wires.

    """
    found: dict[tuple[str, str], Wiring] = {}
    for handler in plan.sourced:
        assert handler.source is not None
        assert handler.pattern is not None
        source = handler.source
        node = grid.node(source.name)
        if node.name == me.name:
            raise GridError(f"handler {handler.name}() of {me.name} has {me.name} itself as its source")
        key = (node.name, handler.pattern.text)
        if key in found:
            raise GridError(f"two handlers of {me.name} take channel {key[1]!r} of {node.name}")
        found[key] = Wiring(node, handler.pattern.text, source.policy, source.limit, handler)
    for index, wire in enumerate(me.subscribes):
        node = grid.node(wire.source)
        channel = wire.channel.removeprefix("/")
        known = found.get((node.name, channel))
        if known is None and plan.find(channel) is None:
            short = ("subscribes", wire.channel)
            place = me.where(*short if short in me.marks else ("subscribes", str(index), "channel"))
            takes = listing(plan.channels, "or") or "no messages"
            raise GridError(
                f"{place}: {me.name} subscribes to channel {channel!r} of {node.name}, "
                f"but no handler takes it; it takes {takes}"
            )
        handler_of = known.handler if known is not None else None
        found[node.name, channel] = Wiring(node, channel, wire.policy, wire.limit, handler_of)
    return list(found.values())


def wired_to(me: Node, grid: Grid) -> list[Node]:
    """Return the nodes that a node without a port has to dial, because they subscribe to it."""
    if me.is_server:
        return []
    return [
        node
        for node in grid
        if node.is_server and node.name != me.name and any(wire.source == me.name for wire in node.subscribes)
    ]


def moved(before: Grid, after: Grid) -> list[tuple[Node, Node]]:
    """Return the nodes that are dialled elsewhere from now on: as they were, and as they are."""
    pairs = [(old, new) for old in before if (new := after.get(old.name)) is not None]
    return [
        (old, new) for old, new in pairs if old.is_server and new.is_server and old.link_uri != new.link_uri
    ]


class Wired:
    """Takes the values of one wiring to its handler: the ``User`` of a ``Want``.

    Args:
        route: Returns where the values go.
        say: Prints a line of the sketch.
        warn: Logs a warning.

    """

    def __init__(
        self, route: Callable[[], Route], say: Callable[[str], None], warn: Callable[[str], object]
    ) -> None:
        self._route = route
        self._say = say
        self._warn = warn

    def messages(self, link: LinkShell, want: Want) -> Messages:
        """Return what takes the messages of a link."""
        return Values(link, want, self._route)

    def began(self, want: Want, missed: int, *, again: bool) -> None:
        """Tell that values will come, and what was missed meanwhile."""
        more = ""
        if again:
            more = f" again, {missed} values missed" if missed else " again, nothing missed"
        self._say(f"** subscribed to {want.channel!r} of {want.source}{more}")

    def ended(self, want: Want, error: Exception) -> None:
        """Tell that no values will come."""
        if not isinstance(error, MeshError) or want.is_over:
            self._warn(f"the subscription to {want.channel!r} of {want.source} has ended: {error}")


class Wires:
    """Everything that one sketch subscribes to, as its class and the grid have it now.

    Args:
        name: The sketch's name.
        subscribing: Makes what subscribes, when there is something for the first time.
        route: Returns where the values of a channel go.
        say: Prints a line of the sketch.
        warn: Logs a warning.

    """

    def __init__(
        self,
        name: str,
        subscribing: Callable[[], Subscribing],
        *,
        route: Callable[[str, Handler | None], Route],
        say: Callable[[str], None],
        warn: Callable[[str], object],
    ) -> None:
        self._name = name
        self._make = subscribing
        self._route = route
        self._say = say
        self._warn = warn
        self._subscribing: Subscribing | None = None
        self._now: dict[Wiring, Want] = {}

    def settle(self, wanted: list[Wiring], callers: list[Node], *, serves: bool) -> None:
        """Subscribe to what is wanted and was not, and no longer to what is not wanted any more.

        Args:
            wanted: Everything that is wanted from now on.
            callers: Nodes to be dialled because they subscribe to this one, which has no port.
            serves: Whether others can dial this one.

        """
        before = {(wiring.source.name, wiring.channel): wiring for wiring in self._now}
        if not wanted and not callers and not self._now:
            return
        if self._subscribing is None:
            self._subscribing = self._make()
        added = []
        for wiring in wanted:
            known = before.pop((wiring.source.name, wiring.channel), None)
            if known is not None and known.is_like(wiring):
                self._now[wiring] = self._now.pop(known)
                continue
            if known is not None:
                self._drop(known)
            added.append(wiring)
        for wiring in before.values():
            self._drop(wiring)
            self._say(f"** no longer subscribed to {wiring.channel!r} of {wiring.source.name}")
        for wiring in added:
            self._add(wiring, serves=serves)
        self._keep([wiring.source for wiring in wanted if wiring.source.is_server], callers)

    def moved(self, node: Node) -> None:
        """Dial a source at its new address."""
        if self._subscribing is not None:
            self._subscribing.moved(node)

    def known(self) -> list[dict[str, object]]:
        """Return what is subscribed to."""
        return [
            {"source": want.source, "channel": want.channel, "policy": want.policy.value, "limit": want.limit}
            for want in self._now.values()
        ]

    async def close(self) -> None:
        """End what keeps links up."""
        if self._subscribing is not None:
            await self._subscribing.close()

    def _add(self, wiring: Wiring, *, serves: bool) -> None:
        assert self._subscribing is not None
        if not wiring.source.is_server and not serves:
            self._warn(
                f"{wiring.source.name} has no port and {self._name} does not serve, "
                f"so that channel {wiring.channel!r} will not come; give one of them a `port:`"
            )
        policy, limit = settled_policy(wiring.policy, wiring.limit)
        user = Wired(lambda: self._route(wiring.channel, wiring.handler), self._say, self._warn)
        want = Want(wiring.source.name, wiring.channel, policy, limit, user)
        self._now[wiring] = want
        self._subscribing.add(want)

    def _drop(self, wiring: Wiring) -> None:
        assert self._subscribing is not None
        self._subscribing.drop(self._now.pop(wiring))

    def _keep(self, sources: list[Node], callers: list[Node]) -> None:
        assert self._subscribing is not None
        needed = {node.name: node for node in (*sources, *callers)}
        for name in self._subscribing.kept():
            if name not in needed:
                self._subscribing.release(name)
        for node in needed.values():
            self._subscribing.keep(node)
