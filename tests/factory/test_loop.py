"""``FactoryLoop`` as its user meets it: who it is, whom it knows, how it runs and ends."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import factory
import mesh
from factory import loop as loop_module
from tests.helpers.log import Log
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE
from tests.helpers.sketch import tell
from tests.helpers.sketch_bench import logged, made

GRID = """
nodes:
  clock: {sketch: clock, target: pin}
  blink: {port: 8765, aliases: [pin]}
  echo: {port: 8766}
  shy: {sketch: clock, peers: [blink]}
"""


class Echo(factory.FactoryLoop):
    def setup(self) -> None:
        self.log: Log[str] = Log()

    @factory.on_start
    async def begin(self) -> None:
        self.log.add("begun")

    @factory.reactive
    async def loop(self, channel: str, msg: str) -> str:
        return msg

    @factory.on_stop
    async def end(self) -> None:
        self.log.add("ended")


class Clock(factory.FactoryLoop):
    @factory.every(1)
    async def tick(self) -> None: ...


@pytest.fixture
def grid_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    monkeypatch.chdir(tmp_path)
    yield path
    gc.collect()


# -- who and whom ---------------------------------------------------------------------------


@pytest.mark.source("B15", "B19", "B20")
@pytest.mark.usefixtures("grid_file")
def test_every_sketch_knows_the_grid() -> None:
    echo = Echo()
    assert [node.name for node in echo.grid] == ["clock", "blink", "echo", "shy"]
    assert echo.me == echo.node("echo") == echo.grid[2]
    assert echo.name == "echo"
    assert echo.target is None
    assert echo.node("pin") is echo.node("blink"), "by its alias"
    with pytest.raises(mesh.UnknownNodeError, match="unknown node 'blik', did you mean 'blink'"):
        echo.node("blik")


@pytest.mark.usefixtures("grid_file")
def test_the_target_of_the_grid_is_a_node() -> None:
    clock = Clock()
    assert isinstance(clock.target, mesh.Node)
    assert clock.target.name == "blink"


@pytest.mark.usefixtures("grid_file")
def test_a_class_that_the_grid_does_not_know_is_a_node_all_the_same() -> None:
    class Thermostat(Echo): ...

    sketch = Thermostat()
    assert (sketch.name, sketch.me.port) == ("thermostat", None)
    assert sketch.node("echo").port == 8766


@pytest.mark.source("B18", "B33")
@pytest.mark.usefixtures("grid_file")
def test_a_registry_of_its_own_and_peers_that_are_hidden() -> None:
    class Shy(Clock): ...

    assert [node.name for node in Shy().grid] == ["blink", "shy"]
    with pytest.raises(mesh.UnknownNodeError, match="hidden"):
        Shy().node("echo")

    class Elsewhere(Clock):
        registry = mesh.StaticRegistry([mesh.Node("only", "localhost", 1)])

    assert Elsewhere().grid.names() == ["only"]


def test_no_grid_at_all_is_an_error_of_the_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_GRID", str(tmp_path / "none.yaml"))
    with pytest.raises(mesh.GridError, match=r"none\.yaml"):
        Echo()


def test_as_node_takes_the_node_it_is_given() -> None:
    me = mesh.Node("kitchen", "localhost", 8770, target="echo")
    sketch = Echo.as_node(me, mesh.Grid([me, mesh.Node("echo", "localhost", 1)]))
    assert sketch.me is me
    assert sketch.name == "kitchen"
    with pytest.raises(mesh.UnknownNodeError, match="'ehco'"):
        Echo.as_node(mesh.Node("x", target="ehco"), mesh.Grid([mesh.Node("echo", "localhost", 1)]))


def test_setup_may_already_speak_and_ask_for_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    class Eager(Echo):
        def setup(self) -> None:
            super().setup()
            self.out(f"I am {self.name}")
            self.stop()

    sketch = made(Eager)
    assert capsys.readouterr().out == "[ eager ] I am eager\n"
    sketch.run(port=0)
    assert list(sketch.log) == [], "a worker that shall end does not begin"
    assert "serving" not in capsys.readouterr().out


# -- running ---------------------------------------------------------------------------------


@pytest.mark.source("B38")
async def test_running_serves_inside_the_block_and_not_behind_it(capsys: pytest.CaptureFixture[str]) -> None:
    echo = made(Echo)
    with pytest.raises(mesh.NotAServerError):
        _ = echo.serving
    async with echo.running(port=0) as same:
        assert same is echo
        node = echo.serving
        assert node.port
        assert f"[ echo ] serving on localhost:{node.port}\n" == capsys.readouterr().out
        assert await tell(node, ["x"]) == ["x"]
    assert list(echo.log) == ["begun", "ended"]
    with pytest.raises(OSError, match=r"."):
        await asyncio.open_connection(node.host, node.port)


async def test_an_error_inside_the_block_comes_out_after_the_drain() -> None:
    echo = made(Echo)
    with pytest.raises(KeyError, match="mine"):
        async with echo.running(port=0):
            raise KeyError("mine")
    assert list(echo.log) == ["begun", "ended"]


async def test_arun_ends_when_it_is_stopped_any_number_of_times() -> None:
    echo = made(Echo)
    task = asyncio.create_task(echo.arun(port=0))
    await echo.log.until(1)
    for _ in range(3):
        echo.stop()
    async with asyncio.timeout(DEADLINE):
        await task
    echo.stop()
    assert list(echo.log) == ["begun", "ended"]


def test_run_blocks_until_another_thread_stops_it() -> None:
    for _ in range(5):
        begun = threading.Event()

        class Told(Echo):
            @factory.on_start
            async def tell(self, begun: threading.Event = begun) -> None:
                begun.set()

        sketch = made(Told)

        def stop(begun: threading.Event = begun, sketch: Told = sketch) -> None:
            assert begun.wait(DEADLINE)
            sketch.stop()

        stoppers = [threading.Thread(target=stop) for _ in range(4)]
        for thread in stoppers:
            thread.start()
        sketch.run(port=0)
        for thread in stoppers:
            thread.join(DEADLINE)
        assert list(sketch.log) == ["begun", "ended"]
        sketch.stop()  # long over, and the loop is closed


def test_a_stop_from_another_thread_at_any_moment_is_never_lost() -> None:
    """Wherever the stop falls - before the loop, while it starts, after - the worker ends."""
    for spins in range(0, 40_000, 2_000):
        sketch = made(Echo)

        def stop(spins: int = spins, sketch: Echo = sketch) -> None:
            for _ in range(spins):
                pass
            sketch.stop()

        thread = threading.Thread(target=stop)
        thread.start()
        sketch.run(port=0)
        thread.join(DEADLINE)


def test_run_works_in_a_thread_too() -> None:
    sketch = made(Echo)
    thread = threading.Thread(target=sketch.run, kwargs={"port": 0})
    sketch.stop()
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive()


async def test_one_sketch_runs_once() -> None:
    echo = made(Echo)
    async with echo.running(port=0):
        with pytest.raises(RuntimeError, match="echo was started before; construct it again to run it again"):
            await echo.arun(port=0)
        assert await tell(echo.serving, ["x"]) == ["x"], "the one that runs is left in peace"
    with pytest.raises(RuntimeError, match="was started before"):
        await echo.arun(port=0)
    assert list(echo.log) == ["begun", "ended"]


def test_run_says_in_one_line_why_it_cannot(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Echo):
        @factory.on_start
        async def fail(self) -> None:
            raise ValueError("no board")

    with logged() as log, pytest.raises(SystemExit) as caught:
        made(Broken).run(port=0)
    assert caught.value.code == 1
    (line,) = [line for line in log.lines if line.startswith("error")]
    assert line.startswith("error: fail() raised ValueError: no board (at ")
    assert "Traceback" not in capsys.readouterr().err

    with logged() as log, pytest.raises(SystemExit) as caught:
        made(Echo).run("nowhere.invalid", 0)
    assert caught.value.code == 1
    assert len([line for line in log.lines if line.startswith("error")]) == 1


async def test_two_workers_may_dial_each_other_from_their_start_hooks() -> None:
    """Each serves before it dials, so neither order of the two is wrong."""
    ports = free_ports(2)
    nodes = [mesh.Node(name, "localhost", port) for name, port in zip(("ping", "pong"), ports, strict=True)]

    class Pair(Echo):
        @factory.on_start
        async def call(self) -> None:
            other = "pong" if self.name == "ping" else "ping"
            self.acks = await self.stream(other, self.name)
            self.log.add("called")

    pair = [Pair.as_node(node, mesh.Grid(nodes)) for node in nodes]
    with logged():
        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
            for sketch in pair:
                group.create_task(sketch.arun())
            for sketch in pair:
                await sketch.log.until(lambda log: "called" in log)
            for sketch in pair:
                sketch.stop()
    assert [sketch.acks for sketch in pair] == [["ping"], ["pong"]]


@pytest.mark.usefixtures("grid_file")
def test_public_signatures() -> None:
    def parameters(name: str) -> str:
        return str(inspect.signature(getattr(factory.FactoryLoop, name))).replace("'", "")

    assert parameters("run") == "(self, socket: str | None = None, port: int | None = None) -> None"
    assert parameters("arun") == parameters("run")
    assert parameters("stream").startswith(
        "(self, target: mesh.Node | str | None, data: object, channel: str = , *,"
    )
    assert loop_module.FactoryLoop is factory.FactoryLoop


class Loud(factory.FactoryLoop):
    def setup(self, sound: str, times: int = 1) -> None: ...

    @factory.reactive
    async def loop(self, channel: str, msg: str) -> None: ...


def test_a_misspelt_argument_is_named_rather_than_what_is_missing_for_it() -> None:
    with pytest.raises(factory.SketchError) as caught:
        Loud(sond=1)
    assert "got an unexpected keyword argument 'sond', did you mean 'sound'?" in str(caught.value)
    with pytest.raises(factory.SketchError, match=r"missing a required argument: 'sound'$"):
        Loud()


def test_a_constructor_that_forgets_super_is_told() -> None:
    class Forgetful(Echo):
        def __init__(self) -> None:
            self.mine = 1

    words = r"Forgetful has an __init__\(\) of its own that does not call super\(\).__init__\(\)"
    with pytest.raises(factory.SketchError, match=words):
        made(Forgetful)
    with pytest.raises(factory.SketchError, match=words):
        Forgetful().run()


def test_a_constructor_with_super_is_fine() -> None:
    class Own(Echo):
        def __init__(self) -> None:
            super().__init__()
            self.mine = 1

    assert made(Own).mine == 1
