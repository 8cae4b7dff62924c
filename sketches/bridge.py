"""Lines 6: a device that speaks lines becomes a peer, with nothing but a node in the grid."""

from typing import Any

import factory
import mesh


class Bridge(factory.FactoryLoop):
    """Send what comes as lines to a node, and what nodes send or publish out as lines."""

    def setup(self, line: str, to: str) -> None:
        """Choose both ends.

        Args:
            line: Where lines are spoken: serial:///dev/ttyUSB0?baud=9600, tcp://HOST:PORT or unix:///path.
            to: Whom each line is for, as NODE or NODE/CHANNEL.

        """
        self.line_door = line
        self.node_name, _, self.to_channel = to.partition("/")
        self.node(self.node_name)  # says so now if the grid has no such node
        self.ends: dict[int, factory.Client] = {}
        self.dropped = 0

    def on_client(self, client: factory.Client, state: str, reason: str) -> bool:
        """Keep who is at the other end of the line."""
        if state == "up":
            self.ends[client.id] = client
        else:
            del self.ends[client.id]
        self.out(f"line {state}: {reason}")
        return True

    @factory.reactive
    async def loop(self, channel: str, msg: Any) -> Any:
        """Hand a line on and return its acknowledgement; write what came from a node as a line."""
        if self.client is not None:
            try:
                return await self.request(self.node_name, msg, self.to_channel)
            except mesh.DeliveryError as exc:
                # The line hears what the node said, and why nothing came if nothing did.
                raise factory.Reject(str(exc)) from exc
        self.drop(sum(not end.tell(msg) for end in self.ends.values()) or not self.ends)
        return None

    def drop(self, count: int) -> None:
        """Count what a line has no room for, and say so when it begins and every thousand."""
        if count and (self.dropped + count) // 1000 > (self.dropped - 1) // 1000:
            self.out(f"no line takes what comes: {self.dropped + count} dropped so far")
        self.dropped += count
