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


def subscribe_all(
    wanted: list[Wiring],
    subscribing: Subscribing,
    route: Callable[[str, Handler | None], Route],
    say: Callable[[str], None],
    warn: Callable[[str], object],
) -> None:
    """Subscribe to everything, and dial the sources that can be dialled."""
    for wiring in wanted:
        policy, limit = settled_policy(wiring.policy, wiring.limit)

        def routed(wiring: Wiring = wiring) -> Route:
            return route(wiring.channel, wiring.handler)

        user = Wired(routed, say, warn)
        subscribing.add(Want(wiring.source.name, wiring.channel, policy, limit, user))
        if wiring.source.is_server:
            subscribing.keep(wiring.source)
