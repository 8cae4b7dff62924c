"""The supervisor of a fleet: carries out what the core decides, and tells the core what happened.

It owns the processes, the guard, the logs, the screen, the control socket and the eye on the grid. All of
it runs on one event loop, but for the writing to the screen.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.fitting import check_sketches
from factory.fleet.actions import (
    RUNS,
    Action,
    Became,
    Kill,
    RolledBack,
    Settings,
    Settled,
    Start,
    State,
    Terminate,
)
from factory.fleet.core import Fleet
from factory.fleet.logs import Log
from factory.fleet.order import needs, with_needs
from factory.fleet.plan import difference, is_ours
from factory.fleet.processes import Guard, NodeProcess
from factory.fleet.screen import OURS, Screen
from factory.supervised import Terms, grid_file
from mesh.errors import GridError, MeshError
from mesh.gridfile import Grid
from mesh.gridfile.watch import LOOK, GridFile
from mesh.node import Node
from mesh.runtime import FleetRecord
from mesh.text import did_you_mean, listing

if TYPE_CHECKING:
    from mesh.control import Control

SPAWNING = 0.02
"""Seconds that the first nodes have to be spawned before anything else is done."""

KEPT = 3
"""Settled grids that are kept, for nodes that are about to read one."""


class Supervisor:
    """Runs one fleet.

    Args:
        grid: Its grid, checked.
        content: The text of it.
        record: What is known of the fleet.
        folder: Its folder in the runtime directory.
        screen: Where it shows what happens.
        names: The nodes that are wanted; ``None`` for all.
        with_others: Whether those that they need are wanted as well.
        settings: What it grants its nodes.

    Attributes:
        when_up: Called once, when all are ready or have had their try, with whether all are ready.

    """

    def __init__(
        self,
        grid: Grid,
        content: bytes,
        record: FleetRecord,
        folder: Path,
        screen: Screen,
        *,
        names: Iterable[str] | None = None,
        with_others: bool = True,
        settings: Settings | None = None,
    ) -> None:
        self._grid = grid
        self._record = record
        self._folder = folder
        self._screen = screen
        self._names = None if names is None else list(names)
        self._with_others = with_others
        cores = os.cpu_count() or 1
        self._fleet = Fleet(settings or Settings(at_once=max(4, 2 * cores)))
        self._shown = next((node.file for node in grid if node.file), None) or record.grid
        self._file = GridFile(Path(record.grid), self._shown, known=content)
        self._guard = Guard(f"{record.id}-{record.pid}-{record.start}")
        self._processes: dict[str, NodeProcess] = {}
        self._lives: set[asyncio.Task[None]] = set()
        self._logs: dict[str, Log] = {}
        self._wheres: dict[str, str | None] = {}
        self._timer: asyncio.TimerHandle | None = None
        # Grids by number: the one that is settled on, and the one that is being tried.
        self._settled = 0
        self._tried: tuple[int, Grid] | None = None
        self._number = 0
        self._began = 0.0
        self._begun = False
        self._over = asyncio.Event()
        self._news = asyncio.Event()
        self._unclean: set[str] = set()
        # Of the grid, since it was last looked at: what is wrong with it, or why it was taken back.
        self._mistakes: str | None = None
        self._taken_back: str | None = None
        self._reloading = asyncio.Lock()
        self.when_up: Callable[[bool], object] = lambda _: None
        self._told_up = False
        self._ending = False
        self._keep(content, 0)

    # -- life ------------------------------------------------------------------------------

    async def run(self) -> int:
        """Run the fleet until it is over; return the exit code."""
        control: Control | None = None
        async with self._guard:
            watch = asyncio.create_task(self._watch(), name="looks at the grid")
            try:
                self._began = self._now()
                self._begun = True
                self._fleet.begin(self._selected(self._grid), self._now())
                self._carry_out()
                control = await self._open_control()
                await self._over.wait()
                for name in self._fleet.killed:
                    self._say(f"{name} did not stop in time and was killed")
            finally:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)
                for process in self._processes.values():
                    process.kill()
                if self._lives:
                    await asyncio.wait(self._lives)
                if control is not None:
                    await control.close()
                if self._timer is not None:
                    self._timer.cancel()
                for log in self._logs.values():
                    log.close()
        failed = any(self._fleet.state(name) is State.FAILED for name in self._fleet.names())
        return 1 if failed or self._unclean or self._fleet.killed else 0

    async def _open_control(self) -> Control | None:
        # With it comes the network, which takes a while; by then the first nodes are to be on their way.
        await asyncio.sleep(SPAWNING)
        from mesh.control import Control

        control = Control("the fleet", {"$fleet": self._answer})
        try:
            await control.open(self._folder / "control.sock")
        except (MeshError, OSError) as exc:
            self._say(f"warning: mesh commands will not reach this fleet: {exc}")
        return control

    def down(self, why: str = "") -> None:
        """Stop everything, in good order."""
        if not self._ending:
            self._ending = True
            if why:
                self._say(why)
            self._fleet.down(self._now())
            self._carry_out()

    def kill(self) -> None:
        """Stop everything by force."""
        self._ending = True
        self._fleet.kill(self._now())
        self._carry_out()

    # -- what becomes of processes ----------------------------------------------------------------

    def is_ready(self, name: str, run: int, where: str | None) -> None:
        """It serves at an address, or runs without one."""
        self._wheres[name] = where
        self._fleet.ready(name, run, self._now())
        process = self._processes.get(name)
        if process is not None and process.number < self._settled:
            process.tell_grid(self._settled)
        self._carry_out()

    def printed(self, name: str, text: str) -> None:
        """It has printed a line."""
        when = datetime.now().astimezone()
        self._log(name).write(text, when)
        self._screen.line(name, text, when)

    def has_ended(self, name: str, run: int, *, failed: bool, why: str) -> None:
        """It is gone, with all that it has started."""
        self._log(name).note(f"-- {why} (run {run})", datetime.now().astimezone())
        self._processes.pop(name, None)
        if failed and self._fleet.state(name) is State.STOPPING:
            self._unclean.add(name)
            self._say(f"{name} {why} while it stopped")
        self._fleet.ended(name, run, self._now(), failed=failed, why=why)
        self._carry_out()

    # -- what is to be done -----------------------------------------------------------------------------

    def _carry_out(self) -> None:
        while actions := self._fleet.take_actions():
            for action in actions:
                self._do(action)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._fleet.next_deadline()
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._on_timer)
        self._news.set()
        self._news = asyncio.Event()
        self._tell_whether_up()
        if self._is_over():
            if not self._ending:
                self._say("nothing is left running")
            self._over.set()

    def _is_over(self) -> bool:
        if not self._begun or not self._fleet.is_over or self._fleet.is_changing or self._processes:
            return False
        # Of nodes that were stopped by hand somebody may still want something.
        return self._ending or not any(
            self._fleet.state(name) is State.STOPPED for name in self._fleet.names()
        )

    def _on_timer(self) -> None:
        self._timer = None
        # Who has been stopped or late itself may not have read yet that a node was in time.
        for process in list(self._processes.values()):
            process.hear()
        self._fleet.handle_timer(self._now())
        self._carry_out()

    def _do(self, action: Action) -> None:
        if isinstance(action, Start):
            self._start(action)
        elif isinstance(action, Terminate | Kill):
            process = self._processes.get(action.name)
            if process is not None and process.run == action.run:
                process.kill() if isinstance(action, Kill) else process.ask_to_end()
        elif isinstance(action, Became):
            self._tell(action)
        elif isinstance(action, Settled):
            self._settle(action.number)
        else:
            self._roll_back(action)

    def _start(self, action: Start) -> None:
        number = self._tried[0] if self._tried is not None else self._settled

        def terms(ready: int, lifeline: int) -> Terms:
            return Terms(
                fleet=self._record.id,
                run=action.run,
                ready=ready,
                lifeline=lifeline,
                folder=str(self._folder),
                number=number,
                path=self._record.grid,
                shown=self._shown,
            )

        folder = Path(self._record.grid).parent
        process = NodeProcess(action.node, terms, self, self._guard, folder)
        process.number, process.run = number, action.run
        self._processes[action.node.name] = process
        self._log(action.node.name).note(f"-- starts (run {action.run})", datetime.now().astimezone())
        task = asyncio.create_task(process.live(), name=f"life of {action.node.name}")
        self._lives.add(task)
        task.add_done_callback(self._lives.discard)

    def _tell(self, action: Became) -> None:
        name = action.name
        if action.state is State.READY:
            where = self._wheres.get(name)
            self._say(f"{name} is ready{f' on {where}' if where else ''}")
        elif action.state is State.FAILED:
            self._say(f"{name} {action.why}")
            last = self._log(name).last
            if last:
                lines = "line" if len(last) == 1 else f"{len(last)} lines"
                self._say(f"the last {lines} of {name}:")
                self._say("\n".join(f"  {line}" for line in last))
        elif action.state in (State.BACKING_OFF, State.DONE, State.STOPPED) and (action.why or self._told_up):
            self._say(f"{name} {action.why or 'has stopped'}")

    def _tell_whether_up(self) -> None:
        if self._told_up or self._ending:
            return
        states = [self._fleet.state(name) for name in self._fleet.names()]
        if self._fleet.is_up:
            self._told_up = True
            count = len(states)
            took = self._now() - self._began
            self._say(f"{'1 node is' if count == 1 else f'{count} nodes are'} up after {took:.1f} s")
            self.when_up(True)
        elif any(state is State.FAILED for state in states) and not any(
            state in (State.WAITING, State.STARTING, State.BACKING_OFF) for state in states
        ):
            self._told_up = True
            self.when_up(False)

    # -- the grid ------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            if not self._ending and not self._fleet.is_changing and self._file.has_changed():
                await self._reload()

    async def _reload(self) -> str:
        """Read the grid and apply what is new; return what there is to be said."""
        # One after the other, and none while a change is being applied: what is read is applied.
        async with self._reloading:
            await self._until(lambda: not self._fleet.is_changing)
            try:
                grid = await asyncio.to_thread(self._read)
                return self._take(grid)
            except GridError as exc:
                self._mistakes = str(exc)
                said = f"{exc}\nthe grid has mistakes; the last good one stays live"
            except OSError as exc:
                self._file.forget()
                said = f"the new grid cannot be kept in {self._folder}: {exc.strerror}; save it again"
            self._say(said)
            return said

    def _take(self, grid: Grid | None) -> str:
        """Apply a grid that has no mistakes; ``None`` for one that is as it was."""
        self._mistakes = None
        if grid is None or self._ending:
            return "the grid is as it was"
        self._taken_back = None
        changes = difference(self._grid, grid)
        self._number += 1
        assert self._file.content is not None
        self._keep(self._file.content, self._number)
        self._tried = (self._number, grid)
        said = "\n".join(
            ["the grid has changed:", *map(str, changes)] if changes else ["the grid has changed"]
        )
        self._say(said)
        self._fleet.apply(self._selected(grid), self._number, self._now())
        self._carry_out()
        return said

    def _read(self) -> Grid | None:
        grid = self._file.read()
        if grid is not None:
            try:
                check_sketches(grid)
            except GridError:
                # The sketch may be there when the grid is saved the next time.
                self._file.forget()
                raise
        return grid

    def _selected(self, grid: Grid) -> list[Node]:
        ours = [node for node in grid if is_ours(node)]
        if self._names is None:
            return ours
        named = {found.name for name in self._names if (found := grid.get(name)) is not None}
        wanted = with_needs(named, needs(grid)) if self._with_others else named
        return [node for node in ours if node.name in wanted]

    def _keep(self, content: bytes, number: int) -> None:
        path = grid_file(self._folder, number)
        path.with_suffix(".new").write_bytes(content)
        path.with_suffix(".new").replace(path)
        grid_file(self._folder, number - KEPT).unlink(missing_ok=True)

    def _settle(self, number: int) -> None:
        assert self._tried is not None
        self._settled, self._grid = self._tried
        self._tried = None
        for name, process in self._processes.items():
            if process.number != number and self._fleet.state(name) in RUNS:
                process.tell_grid(number)
        self._say("the new grid is live")

    def _roll_back(self, action: RolledBack) -> None:
        self._tried = None
        self._taken_back = action.why
        # Saved once more it is tried once more, for what it names may have been mended.
        self._file.forget()
        # Who was started in the meantime has read the grid that does not count.
        for process in self._processes.values():
            if process.number == action.number:
                process.tell_grid(self._settled)
        self._say(
            f"rolled back, for {action.why}; the last good grid stays live, "
            f"and saving the new one again tries it again"
        )

    # -- questions -----------------------------------------------------------------------------------------

    async def _answer(self, msg: Any) -> Any:
        """Answer ``$fleet``.

        Args:
            msg: ``do``: status, stop, start, restart, reload, down or wait; ``nodes``: which.

        Raises:
            LookupError: If a node is not in the fleet.
            ValueError: If nothing of that name can be done.

        """
        msg = msg if isinstance(msg, dict) else {}
        do, names = msg.get("do"), [str(name) for name in msg.get("nodes") or ()]
        for name in names:
            if self._fleet.state(name) is None:
                known = self._fleet.names()
                hint = did_you_mean(name, known) or f"; it has {listing(known)}"
                raise LookupError(f"the fleet does not run {name!r}{hint}")
        if do == "down":
            self.down("asked to stop")
            return self._status()
        if do == "reload":
            return {**self._status(), "said": await self._reload()}
        if do in ("stop", "start", "restart"):
            await self._order(do, names)
        elif do == "wait":
            await self._until(lambda: self._are(names, State.READY, State.DONE, State.FAILED))
        elif do != "status":
            raise ValueError(
                f"nothing to do for {do!r}; ask for status, stop, start, restart, wait, reload or down"
            )
        return self._status()

    async def _order(self, do: str, names: list[str]) -> None:
        for name in names:
            getattr(self._fleet, do)(name, self._now())
        self._carry_out()
        await asyncio.sleep(0)
        if do == "stop":
            await self._until(lambda: self._are(names, State.STOPPED, State.DONE, State.FAILED))
        else:
            await self._until(lambda: self._are(names, State.READY, State.DONE, State.FAILED))

    def _are(self, names: list[str], *states: State) -> bool:
        return all(self._fleet.state(name) in (*states, None) for name in names or self._fleet.names())

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition() and not self._over.is_set():
            await self._news.wait()

    def _status(self) -> dict[str, object]:
        nodes = self._fleet.snapshot(self._now())
        for node in nodes:
            process = self._processes.get(str(node["node"]))
            node["pid"] = process.pid if process is not None else None
            node["where"] = self._wheres.get(str(node["node"])) if process is not None else None
        return {
            "fleet": self._record.id,
            "grid": self._record.grid,
            "pid": self._record.pid,
            "started_at": self._record.started_at,
            "uptime": round(time.time() - self._record.started_at, 3),
            "up": self._fleet.is_up,
            "changing": self._fleet.is_changing,
            "settled": self._settled,
            "mistakes": self._mistakes,
            "rolled_back": self._taken_back,
            "nodes": nodes,
        }

    # -- within ---------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        """Say something on the screen, and in the log, for a detached fleet has no screen."""
        self._screen.say(text)
        for line in text.splitlines():
            self._log(OURS).note(line, datetime.now().astimezone())

    def _log(self, name: str) -> Log:
        if name not in self._logs:
            folder = self._folder / "logs"
            folder.mkdir(mode=0o700, exist_ok=True)
            self._logs[name] = Log(folder, name)
        return self._logs[name]

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
