"""A node that stands in for another one: it answers every message in one and the same way."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from factory import reactive
from factory.errors import Reject
from factory.looking.rows import value_words
from factory.loop import FactoryLoop
from mesh.gridfile import Grid
from mesh.node import Node

COMMAND_WITHIN = 10.0
"""Seconds that a command may take for an answer."""

Tell = Callable[[str, Any, Any], None]
"""Called with the channel, the message and the answer."""


@dataclass(frozen=True)
class Answers:
    """How to answer.

    Attributes:
        text: With this text; ``None`` for another way.
        command: With what this shell command prints; ``None`` for the message itself.
        count: After how many messages it ends; ``None`` for never.
        tell: Called with the channel, the message and the answer.

    """

    text: str | None
    command: str | None
    count: int | None
    tell: Tell

    async def answer(self, channel: str, msg: Any) -> Any:
        """Return the answer to a message.

        Raises:
            Reject: If the command fails, or takes too long.

        """
        if self.text is not None:
            return self.text
        return msg if self.command is None else await _printed(self.command, channel, value_words(msg))


class StandIn(FactoryLoop):
    """Answers every message in one and the same way."""

    def setup(self, answers: Answers, say: Callable[[str], None]) -> None:
        """Keep how to answer, and who is told what the machinery says."""
        self.answers = answers
        self.say = say
        self.taken = 0

    def out(self, text: object) -> None:
        """Print on standard error: standard output is for the messages."""
        self.say(f"[ {self.name} ] {text}")

    @reactive
    async def loop(self, channel: str, msg: Any) -> Any:
        """Answer, and tell of it."""
        answer = await self.answers.answer(channel, msg)
        self.answers.tell(channel, msg, answer)
        self.taken += 1
        if self.taken == self.answers.count:
            self.stop()
        return answer


def stand_in(me: Node, grid: Grid, port: int | None, answers: Answers, say: Callable[[str], None]) -> int:
    """Be a node until Ctrl-C; return the exit code.

    Args:
        me: The node.
        grid: Whom it knows.
        port: Where to serve, if not where the grid says.
        answers: How to answer.
        say: Called with each line of the machinery.

    """
    try:
        StandIn.as_node(me, grid, answers=answers, say=say).run(port=port)
    except SystemExit as exc:
        return int(exc.code or 0)
    return 0


async def _printed(command: str, channel: str, msg: str) -> str:
    process = await asyncio.create_subprocess_shell(
        command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "CHANNEL": channel},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(COMMAND_WITHIN):
            out, _ = await process.communicate(msg.encode())
    except TimeoutError:
        raise Reject(f"the command took longer than {COMMAND_WITHIN:g} s") from None
    finally:
        if process.returncode is None:
            # With all that it has started.
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        raise Reject(f"the command failed with exit code {process.returncode}")
    return out.decode(errors="replace").rstrip("\n")
