"""Lines 5: talk lines with any server, typing and reading at once."""

import asyncio
from contextlib import suppress
from typing import Any

import factory
import mesh
from factory.terminal import show_line, typed_lines
from mesh.lines import connect_lines, tcp_url
from mesh.text import printable


class Screen(mesh.LineProtocol):
    """Shows the lines that come; what would control the terminal is escaped."""

    end = "this end closed the connection"

    def line_received(self, line: bytes) -> None:
        """Show a line, whatever bytes are in it; leave when nobody reads what is shown."""
        try:
            show_line(printable(line.decode(errors="backslashreplace")))
        except OSError as exc:
            self.exc = exc
            self.transport.close()

    def eof_received(self) -> None:
        """Take note that the server said goodbye first."""
        self.end = "the server closed the connection"

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that nobody closed it, if so."""
        if exc is not None:
            self.end = "connection lost"
        super().connection_lost(exc)


class Line(factory.FactoryLoop):
    """Send what is typed as lines, show the lines that come, leave when the server does."""

    def setup(self, tcp: str) -> None:
        """Choose whom to talk to.

        Args:
            tcp: Where the server listens, as PORT or HOST:PORT.

        """
        self.server = tcp_url(tcp, lowest=1)

    @factory.on_start
    async def talk(self) -> None:
        """Connect, and talk until one of the two ends leaves."""
        on_exit: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        try:
            screen = await connect_lines(self.server, lambda: Screen("auto", on_exit))
            screen.delimiter = b"\r\n"
            begin = asyncio.get_running_loop().time()
            await self.both_ways(screen, on_exit)
        except mesh.MeshError as exc:
            raise SystemExit(str(exc)) from exc
        spent = asyncio.get_running_loop().time() - begin
        if screen.exc is not None:
            raise SystemExit(f"{screen.end} after {spent:.1f} s: {screen.exc}") from screen.exc
        self.out(f"{screen.end} after {spent:.1f} s")
        self.stop()

    async def both_ways(self, screen: Screen, on_exit: asyncio.Future[bool]) -> None:
        """Send what is typed until the connection is gone, or until typing has failed."""
        typing = asyncio.create_task(self.type(screen))
        try:
            ends: list[asyncio.Future[Any]] = [typing, on_exit]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if typing.done():
                typing.result()
            await on_exit
        finally:
            typing.cancel()
            await asyncio.wait([typing])
            screen.transport.close()

    async def type(self, screen: Screen) -> None:
        """Send each line that is typed; at the end of them only listen."""
        try:
            with suppress(ConnectionError):  # why it is gone is told by whoever waits for that
                async for line in typed_lines("> "):
                    screen.write_line(line)
                    await screen.drain()
                if not screen.transport.is_closing():
                    screen.transport.write_eof()
        except KeyboardInterrupt:
            self.stop()
