"""Run the fleet of the Procfile in the foreground, until Ctrl-C or SIGTERM.

Stopped on purpose, with children that stop in time, it exits 0; honcho's own command
exits 130, and waits for ever when no child heeds SIGTERM. Names of processes as
arguments run only those. It serves until there is ``mesh up``.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from honcho.colour import get_colours
from honcho.environ import parse, parse_procfile
from honcho.printer import Message, Printer

ROOT = Path(__file__).resolve().parents[1]
GRACE = 5.0  # seconds from SIGTERM to SIGKILL, as foreman and honcho have it
STOPPED = {0, -signal.SIGTERM, 128 + signal.SIGTERM}  # exit codes of one who was told to stop
SHELL = re.compile(r"[*?{}\[\]<>()~&|\\$;'`\"#=%\n]")  # what only a shell understands


async def relay(output: asyncio.StreamReader, say: Callable[[bytes], None]) -> None:
    """Pass on what a child prints, line by line, until nobody can print any more."""
    while True:
        try:
            line = await output.readline()
        except ValueError:  # past the reader's limit, which keeps memory in bounds
            line = b"(a line that is too long to show)\n"
        if not line:
            return
        say(line)


async def run(commands: dict[str, str], printer: Printer) -> int:
    """Run all commands until one ends or a signal comes, and return the exit code."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    children: dict[str, asyncio.subprocess.Process] = {}
    exits: dict[str, asyncio.Task[int]] = {}
    relays: dict[str, asyncio.Task[None]] = {}
    killed: set[str] = set()

    def say(name: str, colour: str | None, text: bytes | str) -> None:
        try:
            printer.write(Message("line", text, datetime.datetime.now().astimezone(), name, colour))
        except BrokenPipeError:  # nobody reads on, as after `make up | head`: that is an end, too
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            asked.set()

    def on_signal(number: signal.Signals) -> None:
        if asked.is_set():  # the second one: no more patience
            signal_all(signal.SIGKILL)
        else:
            say("up", None, f"{number.name}: stopping")
            asked.set()

    def signal_all(number: signal.Signals) -> None:
        for name in exits:
            if not (exits[name].done() and relays[name].done()):
                killed.update({name} if number == signal.SIGKILL else ())
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(children[name].pid, number)  # a shell before it and helpers behind it, too

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    dotenv = ROOT / ".env"
    env = os.environ | (parse(dotenv.read_text(encoding="utf-8")) if dotenv.is_file() else {})
    for (name, command), colour in zip(commands.items(), get_colours(), strict=False):
        if not SHELL.search(command):  # as foreman does: no shell comes between us and the exit code
            command = f"exec {command}"
        children[name] = child = await asyncio.create_subprocess_shell(
            command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, cwd=ROOT, env=env, start_new_session=True
        )
        assert child.stdout is not None
        exits[name] = asyncio.create_task(child.wait())
        relays[name] = asyncio.create_task(relay(child.stdout, partial(say, name, colour)))
    waiting = asyncio.create_task(asked.wait())
    await asyncio.wait({waiting, *exits.values()}, return_when=asyncio.FIRST_COMPLETED)
    ended = [] if asked.is_set() else [name for name, task in exits.items() if task.done()]
    signal_all(signal.SIGTERM)
    await asyncio.wait({*exits.values(), *relays.values()}, timeout=GRACE)
    signal_all(signal.SIGKILL)
    await asyncio.wait({*exits.values(), *relays.values()}, timeout=1)
    for task in (waiting, *relays.values()):
        task.cancel()  # an output that is still open belongs to somebody who has left the group
    failed = False
    for name, code in [(name, await task) for name, task in exits.items()]:
        if name in killed:
            how = "did not stop and was killed"
        elif code == 0 or (code in STOPPED and name not in ended):
            continue
        else:
            how = (
                f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
            )
        print(f"up: {name} {how}", file=sys.stderr)
        failed = True
    if ended and not failed:
        say("up", None, f"{' and '.join(ended)} ended, so the rest was stopped")
    return int(failed)


def main(names: Sequence[str]) -> int:
    """Run the named processes of the Procfile, or all of them, and return the exit code."""
    try:
        known: dict[str, str] = parse_procfile((ROOT / "Procfile").read_text(encoding="utf-8")).processes
        unknown = ", ".join(name for name in names if name not in known) or ("process" if not known else "")
        if unknown:
            raise ValueError(f"it names no {unknown}" + (f", only {', '.join(known)}" if known else ""))
    except (OSError, AssertionError, ValueError) as error:
        print(f"up: cannot use {ROOT / 'Procfile'}: {error}", file=sys.stderr)
        return 2
    commands = {name: command for name, command in known.items() if not names or name in names}
    printer = Printer(width=max(map(len, commands)), colour=not os.environ.get("NO_COLOR"))
    return asyncio.run(run(commands, printer))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
