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
            self.write(msg)
            return None
        try:
            return await self.request(self.node_name, msg, self.to_channel)
        except mesh.NackedError as exc:
            raise factory.Reject(f"{exc.type}: {exc.reason}") from exc

    def write(self, msg: Any) -> None:
        """Write a line to every end; what one of them has no room for is refused, so the books tell of it."""
        if not self.ends:
            raise factory.Reject("no line is up")
        if deaf := sum(not end.tell(msg) for end in self.ends.values()):
            raise factory.Reject(f"{deaf} of {len(self.ends)} lines do not take it")

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
