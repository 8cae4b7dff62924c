"""Lines 5: talk lines with any server, typing and reading at once."""

import asyncio

import factory
import mesh
from factory.terminal import typed_lines
from mesh.lines import connect_lines
from mesh.text import printable


class Screen(mesh.LineProtocol):
    """Shows the lines that come; what would control the terminal is escaped."""

    closed_by = "this end"

    def line_received(self, line: bytes) -> None:
        """Show a line, whatever bytes are in it."""
        print(printable(line.decode(errors="backslashreplace")), flush=True)

    def eof_received(self) -> None:
        """Take note that the server said goodbye first."""
        self.closed_by = "the server"


class Line(factory.FactoryLoop):
    """Send what is typed as lines, show the lines that come, leave when the server does."""

    @factory.on_start
    async def talk(self) -> None:
        """Connect, and talk until one of the two ends leaves."""
        if self.line_door is None:
            raise ValueError("whom shall it talk to? say --tcp [HOST:]PORT")
        on_exit: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        screen = await connect_lines(self.line_door, lambda: Screen("auto", on_exit))
        screen.delimiter = b"\r\n"
        begin = asyncio.get_running_loop().time()
        typing = asyncio.create_task(self.type(screen))
        try:
            await on_exit
        finally:
            typing.cancel()
            await asyncio.wait([typing])
            screen.transport.close()
        spent = asyncio.get_running_loop().time() - begin
        who = f"connection lost ({screen.exc})" if screen.exc else f"{screen.closed_by} closed the connection"
        self.out(f"{who} after {spent:.1f} s")
        self.stop()

    async def type(self, screen: Screen) -> None:
        """Send each line that is typed; at the end of them only listen."""
        try:
            async for line in typed_lines("> "):
                screen.write_line(line)
                await screen.drain()
            screen.transport.write_eof()
        except KeyboardInterrupt:
            self.stop()
        except (ConnectionError, mesh.LineTooLongError) as exc:
            self.out(exc)
