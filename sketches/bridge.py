"""Lines 6: a device that speaks lines becomes a peer, with nothing but a node in the grid."""

import asyncio
from collections.abc import Callable
from typing import Any

import factory
import mesh
from factory.terminal import show_line, typed_lines
from mesh.protocol.values import Refusal, answer_to_wire, refusal_to_wire

STDIN = "stdin:"


class Bridge(factory.FactoryLoop):
    """Send what comes as lines to a node, and what nodes send or publish out as lines."""

    def setup(self, line: str, to: str) -> None:
        """Choose both ends.

        Args:
            line: Where lines are spoken: serial:///dev/ttyUSB0?baud=9600, tcp://HOST:PORT,
                unix:///path or stdin:.
            to: Whom each line is for, as NODE or NODE/CHANNEL.

        """
        # Standard input is no door, and whoever reads from it needs no other one.
        self.line_door = "" if line == STDIN else line
        self.node_name, _, self.to_channel = to.partition("/")
        self.node(self.node_name)  # says so now if the grid has no such node
        self.ends: dict[int, factory.Client] = {}
        self.dropped = 0

    def on_client(self, client: factory.Client, state: str, reason: str) -> bool:
        """Keep who is at the other end of the line; who sends by websocket is none of these."""
        if not client.can_be_told:
            return False
        if state == "up":
            self.ends[client.id] = client
        else:
            del self.ends[client.id]
        self.out(f"line {state}: {reason}")
        return True

    @factory.reactive
    async def loop(self, channel: str, msg: Any) -> Any:
        """Hand a line on and return its acknowledgement; write what came from a node as a line."""
        if self.client is None:
            self.drop(sum(not end.tell(msg) for end in self.ends.values()) or not self.ends)
            return None
        try:
            return await self.request(self.node_name, msg, self.to_channel)
        except mesh.NackedError as exc:
            raise factory.Reject(f"{exc.type}: {exc.reason}") from exc

    def drop(self, count: int) -> None:
        """Count what a line has no room for, and say so when it begins and every thousand."""
        before, self.dropped = self.dropped, self.dropped + count
        if count and (before == 0 or self.dropped // 1000 > before // 1000):
            self.out(f"no line takes what comes: {self.dropped} dropped so far")

    @factory.on_stop
    def count(self) -> None:
        """Say what was dropped in all."""
        if self.dropped:
            self.out(f"no line took what came: {self.dropped} dropped in all")

    @factory.on_start
    async def begin(self) -> None:
        """Read from standard input, if that is the line; its end is the end of the bridge."""
        if self.line_door != "":
            return
        broken: asyncio.Future[OSError] = asyncio.get_running_loop().create_future()

        def show(text: object) -> bool:
            try:
                show_line(text)
            except OSError as exc:
                if not broken.done():
                    broken.set_result(exc)
                return False
            return True

        self.ends[0] = factory.Client("", "", "standard input", tell=show)
        reading = asyncio.create_task(self.read(show))
        try:
            ends: list[asyncio.Future[Any]] = [reading, broken]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if broken.done():
                raise broken.result()
            reading.result()
        except (mesh.MeshError, OSError) as exc:
            raise SystemExit(str(exc)) from exc
        finally:
            reading.cancel()
            await asyncio.wait([reading])
        self.stop()

    async def read(self, show: Callable[[object], bool]) -> None:
        """Hand on each line and show its answer."""
        try:
            async for line in typed_lines("> "):
                show(await self.answer_to(line))
        except KeyboardInterrupt:
            self.out("Keyboard interruption, aborting.")

    async def answer_to(self, line: str | bytes) -> str | bytes:
        """Hand a line on and return what is to be shown for it."""
        try:
            return answer_to_wire(await self.request(self.node_name, line, self.to_channel))
        except mesh.MeshError as exc:
            return refusal_to_wire(Refusal(type(exc).__name__, str(exc)))
