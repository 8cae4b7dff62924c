"""The core of the source, row by row: the clock, the pin and the buzzer.

One acceptance test for each row of section B, black box and in the source's own words;
what lies deeper is tested beside the code it is in.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from websockets.asyncio.client import connect

import factory
import mesh
import sketches
from mesh.conversation import Client
from mesh.door import Door
from tests.helpers.clients import ask, serving_port
from tests.helpers.fleet import UP, VERBATIM, wait_until_they_talk, write_grid
from tests.helpers.ports import free_ports, shipped_ports
from tests.helpers.proc import DEADLINE, LAUNCHER, ROOT, Proc, arduino, finished, verbatim
from tests.helpers.sketch import Recorder, Sender, as_node, tell, told

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.source("B1")
def test_b01_sketches_and_factory_can_be_imported() -> None:
    assert {"Buzzer", "Clock", "IOPin"} <= set(sketches.__all__)
    assert isinstance(factory.FactoryLoop, type)
    assert callable(factory.reactive)


@pytest.mark.source("B2")
def test_b02_the_buzzer_is_a_factory_loop_that_buzzes_on_light_changes() -> None:
    assert issubclass(sketches.Buzzer, factory.FactoryLoop)
    assert inspect.getdoc(sketches.Buzzer) == "Buzz on light changes."


@pytest.mark.source("B3")
async def test_b03_the_constructor_s_arguments_go_to_setup() -> None:
    assert await told(sketches.Buzzer(sound="buzz buzz buzz"), ["1"]) == ["buzz buzz buzz"]
    with pytest.raises(factory.SketchError, match=r"Buzzer\.setup\(.*sound.*'sond'.*did you mean 'sound'"):
        sketches.Buzzer(sond="x")


@pytest.mark.source("B4")
async def test_b04_reactive_needs_no_parentheses() -> None:
    class Echo(factory.FactoryLoop):
        @factory.reactive
        async def loop(self, channel: str, signal: str) -> str:
            return f"{channel}: {signal}"

    assert await told(Echo(), ["1"], "light") == ["light: 1"]


@pytest.mark.source("B5")
def test_b05_it_is_factory_reactive_everywhere() -> None:
    assert not hasattr(sys.modules["mesh.protocol"], "reactive")
    places = [*ROOT.glob("sketches/*.py"), *ROOT.glob("docs/**/*.md"), ROOT / "README.md"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in places if path.is_file())
    assert "@factory.reactive" in text
    assert not re.search(r"^\s*@protocol\.reactive", text, re.MULTILINE)


@pytest.mark.source("B6")
async def test_b06_signals_are_text_and_1_buzzes() -> None:
    seen = []

    class Noting(sketches.Buzzer):
        @factory.reactive
        async def loop(self, channel, signal):  # type: ignore[no-untyped-def]
            seen.append(signal)
            return await super().loop(channel, signal)

    async with Noting(sound="moo").running(port=0) as buzzer:
        pin = as_node(Recorder, {"buzzer": buzzer})
        async with pin.running(port=0):
            assert await pin.stream("buzzer", [1, 0, "1", "0"]) == ["moo", "...", "moo", "..."]
    assert seen == ["1", "0", "1", "0"]


@pytest.mark.source("B7")
def test_b07_each_event_is_one_flushed_line_with_the_name_before_it() -> None:
    # Through a pipe, where only what is flushed arrives.
    with arduino("buzzer", "--port", "0", env={"PYTHONUNBUFFERED": None}) as buzzer:
        ask(serving_port(buzzer), "1", "0")
        buzzer.wait_for(r"^\[ buzzer \] signal 1 received -> buzz buzz buzz$")
        buzzer.wait_for(r"^\[ buzzer \] signal 0 received -> \.\.\.$")
        buzzer.wait_for("done processing")
        assert buzzer.count("signal . received") == 2


@pytest.mark.source("B8")
async def test_b08_what_a_handler_returns_is_the_acknowledgement() -> None:
    answers: list[tuple[object, object]] = [("text", "text"), (b"\0", b"\0"), (7, "7")]
    for value, plain in [*answers, ({"lux": [1, 2]}, '{"lux":[1,2]}')]:
        assert await told(Recorder(answer=value), ["x"]) == [plain]


@pytest.mark.source("B9")
async def test_b09_the_pin_streams_to_the_buzzer_by_name_and_acknowledges() -> None:
    async with Recorder().running(port=0) as buzzer:
        pin = as_node(sketches.IOPin, {"buzzer": buzzer})
        assert await told(pin, ["0"], "datafeed") == ["acknowledged"]
        assert len(buzzer.seen) == 3


@pytest.mark.source("B10")
async def test_b10_the_channel_of_a_stream_may_be_left_out() -> None:
    async with Recorder().running(port=0) as peer, as_node(Sender, {"peer": peer}).running(port=0) as node:
        await node.stream("peer", "a")
        await node.stream("peer", "b", "x/y")
        await node.stream("peer", "c", channel="z")
        assert peer.seen == [("", "a"), ("x/y", "b"), ("z", "c")]


@pytest.mark.source("B11")
def test_b11_a_new_node_is_registered_aloud_unless_quiet(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "mesh.node"):
        node = mesh.Node("clock", "localhost", None)
    assert (node.name, node.socket, node.port) == ("clock", "localhost", None)
    said = "[ mesh ] registering new node: clock"
    assert said in finished(arduino("clock", "--tacks", "1", "--target", "nobody")).stderr
    assert said not in finished(arduino("clock", "--tacks", "1", "--target", "nobody", "-q")).stderr


@pytest.mark.source("B12")
def test_b12_uri_of_a_channel() -> None:
    assert mesh.Node("a", "localhost", 8766).uri("some/path") == "ws://localhost:8766/some/path"
    assert mesh.Node("a", "pi.local", 1, tls=True).uri() == "wss://pi.local:1/"
    assert mesh.Node("a", "::1", 1).uri("x") == "ws://[::1]:1/x"


@pytest.mark.source("B13")
async def test_b13_connection_is_a_websocket_to_a_channel() -> None:
    async with Recorder(answer="heard").running(port=0) as peer:
        async with peer.serving.connection() as websocket:
            await websocket.send("hello")
            assert await websocket.recv() == "heard"
        async with peer.serving.connection("some/path") as websocket:
            await websocket.send("again")
            assert await websocket.recv() == "heard"
        assert peer.seen == [("", "hello"), ("some/path", "again")]


@pytest.mark.source("B14")
def test_b14_a_node_without_a_port_cannot_be_dialled_and_says_so() -> None:
    node = mesh.Node("clock", "localhost", None)
    for dial in (node.uri, node.connection):
        with pytest.raises(mesh.NotAServerError, match="'clock' has no port"):
            dial("")


@pytest.mark.source("B15")
def test_b15_the_grid_is_a_list_of_clock_blink_and_buzzer() -> None:
    grid = mesh.grid()
    assert isinstance(grid, list)
    assert [(node.name, node.port) for node in grid] == [("clock", None), ("blink", 8765), ("buzzer", 8766)]
    assert all(isinstance(node, mesh.Node) for node in grid)


@pytest.mark.source("B16")
def test_b16_the_pin_is_found_as_blink_and_as_iopin() -> None:
    assert mesh.grid().node("blink") is not None
    assert mesh.grid().node("iopin").name == "blink"
    with arduino("iopin", "--port", "0") as pin:
        pin.wait_for(r"^\[ blink \] serving on ")


@pytest.mark.source("B17")
def test_b17_a_client_needs_no_port(tmp_path: Path) -> None:
    for port in ("", ", port: null"):
        path = write_grid(tmp_path, f"nodes: {{clock: {{sketch: clock{port}}}}}")
        (clock,) = mesh.grid(path)
        assert clock.port is None
        assert not clock.is_server


@pytest.mark.source("B18")
def test_b18_nodes_can_come_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Consul:
        def nodes(self) -> Iterable[mesh.Node]:
            yield mesh.Node("buzzer", "10.0.0.7", 9000)

    monkeypatch.setenv("MESH_NODES", "buzzer=10.0.0.7:9000")
    path = write_grid(tmp_path, "nodes: {buzzer: {host: 10.0.0.7, port: 9000}}")
    registries: list[mesh.Registry] = [
        Consul(),
        mesh.EnvRegistry(),
        mesh.FileRegistry(path),
        mesh.StaticRegistry([mesh.Node("buzzer", "10.0.0.7", 9000)]),
    ]
    for registry in registries:
        assert mesh.grid(registry).node("buzzer").uri() == "ws://10.0.0.7:9000/"


@pytest.mark.source("B19")
def test_b19_every_instance_knows_the_others() -> None:
    assert [node.name for node in sketches.Buzzer().grid] == ["clock", "blink", "buzzer"]


@pytest.mark.source("B20")
async def test_b20_node_finds_by_name_or_says_which_was_meant() -> None:
    class Curious(factory.FactoryLoop):
        @factory.reactive
        async def loop(self, channel, msg):  # type: ignore[no-untyped-def]
            return self.node(msg).uri()

    answers = await told(Curious(), ["buzzer", "buzer"])
    assert answers[0] == "ws://localhost:8766/"
    # Inside a coroutine, where the source's StopIteration becomes a RuntimeError.
    assert '"UnknownNodeError"' in str(answers[1])
    assert "unknown node 'buzer', did you mean 'buzzer'?" in str(answers[1])
    with pytest.raises(mesh.UnknownNodeError, match="did you mean 'buzzer'"):
        Curious().node("buzer")


@pytest.mark.source("B21")
async def test_b21_a_stream_says_what_it_does_and_takes_anything(capsys: pytest.CaptureFixture[str]) -> None:
    async def ticking() -> AsyncIterator[int]:
        yield 5
        yield 6

    async with (
        Recorder(answer="ok").running(port=0) as peer,
        as_node(Sender, {"peer": peer}).running(port=0) as node,
    ):
        capsys.readouterr()
        assert await node.stream("peer", [1, 2]) == ["ok", "ok"]
        lines = [line for line in capsys.readouterr().out.splitlines() if "client connected" not in line]
        assert lines == [
            "[ sender ] starting to stream message to peer",
            "[ sender ] > sending payload: 1",
            "[ sender ] < ok",
            "[ sender ] > sending payload: 2",
            "[ sender ] < ok",
        ]
        assert await node.stream("peer", (i for i in (3, 4))) == ["ok", "ok"]
        assert await node.stream("peer", ticking()) == ["ok", "ok"]
        assert await node.stream("peer", "78") == ["ok"]
        assert [ack async for ack in node.stream("peer", [9])] == ["ok"]
        assert [message for _, message in peer.seen] == ["1", "2", "3", "4", "5", "6", "78", "9"]


@pytest.mark.source("B22")
async def test_b22_text_and_bytes_stay_raw_and_the_rest_is_encoded() -> None:
    @dataclass
    class Light:
        lux: int

    async with Recorder().running(port=0) as peer, as_node(Sender, {"peer": peer}).running(port=0) as node:
        await node.stream("peer", ["größe", b"\0\xff", 1, 2.5, {"a": [1]}, Light(3)])
        assert [message for _, message in peer.seen] == [
            "größe",
            b"\0\xff",
            "1",
            "2.5",
            '{"a":[1]}',
            '{"lux":3}',
        ]


@pytest.mark.source("B23")
@pytest.mark.fleet
def test_b23_a_sketch_is_launched_with_socket_and_port() -> None:
    (port,) = free_ports(1)
    with arduino("buzzer", "--socket", "127.0.0.1", "--port", str(port)) as buzzer:
        buzzer.wait_for(rf"^\[ buzzer \] serving on 127\.0\.0\.1:{port}$")
        assert ask(port, "1") == ["buzz buzz buzz"]


@pytest.mark.source("B24")
@pytest.mark.fleet
async def test_b24_run_blocks_and_arun_is_awaited(tmp_path: Path) -> None:
    script = tmp_path / "own.py"
    script.write_text(
        "import sketches\n"
        "sketches.Buzzer(sound='moo').run('localhost', 0)\n"
        "print('run has returned', flush=True)\n",
        encoding="utf-8",
    )
    with Proc(sys.executable, script, env={"PYTHONPATH": str(ROOT)}) as own:
        port = serving_port(own)
        assert await asyncio.to_thread(ask, port, "1") == ["moo"]
        assert own.count("run has returned") == 0
        assert own.stop() == 0
        assert own.stdout[-1] == "run has returned"

    clock = as_node(sketches.Clock, {"pin": mesh.Node("pin", "localhost", port)}, target="pin")
    running = asyncio.create_task(clock.arun())
    await asyncio.sleep(0)
    clock.stop()
    await running


@pytest.mark.source("B25")
@pytest.mark.fleet
def test_b25_the_three_commands_verbatim() -> None:
    assert os.access(LAUNCHER, os.X_OK)
    assert LAUNCHER.read_text(encoding="utf-8").startswith("#!")
    with shipped_ports(), ExitStack() as stack:
        fleet = {name: stack.enter_context(verbatim(line)) for name, line in VERBATIM.items()}
        wait_until_they_talk(fleet)
        fleet["buzzer"].wait_for("serving on localhost:8766$")
        fleet["iopin"].wait_for("serving on localhost:8765$")
    assert "-p, --port N The target's port to send to." in " ".join(
        " ".join(finished(arduino("clock", "--help")).stdout).split()
    )


@pytest.mark.source("B26")
@pytest.mark.fleet
def test_b26_the_clock_may_come_first() -> None:
    with shipped_ports(), ExitStack() as stack:
        fleet: dict[str, Proc] = {}
        for name in ("clock", "iopin", "buzzer"):
            fleet[name] = stack.enter_context(verbatim(VERBATIM[name]))
            fleet[name].wait_for(UP[name])
        fleet["clock"].wait_for("waiting for blink at ws://localhost:8765/")
        wait_until_they_talk(fleet)


@pytest.mark.source("B27")
@pytest.mark.fleet
def test_b27_the_procfile_runs_under_a_runner() -> None:
    # foreman and `mesh up` are in tests/fleet/test_runners.py.
    with shipped_ports(), Proc(sys.executable, "-m", "honcho", "start") as fleet:
        fleet.wait_for(r"clock\.1 +\| \[ clock \] < acknowledged$")
        fleet.wait_for(r"buzzer\.1 +\| \[ buzzer \] signal [01] received -> ")


@pytest.mark.source("B28")
@pytest.mark.fleet
def test_b28_the_output_is_merged_coloured_prefixed_and_unbuffered() -> None:
    command = [sys.executable, "-m", "factory.cli.fleet", "up"]
    in_a_terminal = f"import pty, sys; sys.exit(pty.spawn({command!r}) >> 8)"
    with shipped_ports(), Proc(sys.executable, "-c", in_a_terminal, interactive=True) as fleet:
        colours = {
            fleet.wait_for(rf"(\x1b\[[0-9;]+m)\d\d:\d\d:\d\d {name} +\|\x1b\[0m \[ {name} \] ")[1]
            for name in ("clock", "blink", "buzzer")
        }
        assert len(colours) == 3
        # A tick is seen while the fleet runs, and not when a buffer is full.
        fleet.wait_for(r"\[ clock \] < acknowledged")
        assert fleet.process.poll() is None


@pytest.mark.source("B29")
async def test_b29_each_tick_makes_the_pin_swing_and_a_seed_repeats_it() -> None:
    runs = []
    for _ in range(2):
        async with Recorder().running(port=0) as buzzer:
            await told(as_node(sketches.IOPin, {"buzzer": buzzer}, seed=5), range(8))
            runs.append([message for _, message in buzzer.seen])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {"0", "1"}


@pytest.mark.source("B30")
async def test_b30_the_clock_ticks_periodically_over_one_websocket(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with Recorder().running(port=0) as pin:
        clock = as_node(sketches.Clock, {"pin": pin}, target="pin", tacks=5, delay=0.02)
        begin = time.monotonic()
        await clock.arun()
        assert time.monotonic() - begin >= 4 * 0.02 * 0.9
        assert len(pin.seen) == 5
    assert capsys.readouterr().out.count("** new client connected") == 1


@pytest.mark.source("B31")
async def test_b31_request_and_reply_streams_and_fan_out() -> None:
    class Twice(factory.FactoryLoop):
        @factory.reactive
        async def loop(self, channel: str, msg: int) -> int:
            return 2 * msg

    async with Twice().running(port=0) as one, Twice().running(port=0) as two:
        hub = as_node(Recorder, {"one": one, "two": two})
        async with hub.running(port=0):
            assert await hub.stream("one", 21) == [42]
            assert [ack async for ack in hub.stream("one", range(3))] == [0, 2, 4]
            both = await asyncio.gather(*(hub.stream(name, [1, 2]) for name in ("one", "two")))
            assert both == [[2, 4], [2, 4]]


@pytest.mark.source("B32")
async def test_b32_nodes_of_a_discovery_service_talk_like_those_of_a_file() -> None:
    async with Recorder(answer="found").running(port=0) as peer:

        class Discovery:
            def nodes(self) -> list[mesh.Node]:
                return [mesh.Node("peer", "localhost", peer.serving.port)]

        class Seeker(factory.FactoryLoop):
            registry = Discovery()

            @factory.reactive
            async def loop(self, channel, msg):  # type: ignore[no-untyped-def]
                return (await self.stream("peer", msg))[0]

        assert await told(Seeker(), ["x"]) == ["found"]


@pytest.mark.source("B33")
async def test_b33_a_worker_reacts_and_talks_to_those_it_may_know(tmp_path: Path) -> None:
    async with Recorder(answer="heard").running(port=0) as peer:
        path = write_grid(
            tmp_path,
            "nodes:\n"
            f"  friend: {{port: {peer.serving.port}}}\n"
            "  stranger: {port: 1}\n"
            "  relay: {sketch: buzzer, peers: [friend]}\n",
        )

        class Relay(factory.FactoryLoop):
            @factory.reactive
            async def loop(self, channel, msg):  # type: ignore[no-untyped-def]
                return (await self.stream(channel, msg))[0]

        grid = mesh.grid(path)
        async with Relay.as_node(grid.node("relay"), grid).running(port=0) as relay:
            assert [node.name for node in relay.grid] == ["friend", "relay"]
            assert await tell(relay.serving, ["x"], "friend") == ["heard"]
            (refused,) = await tell(relay.serving, ["x"], "stranger")
            assert "UnknownNodeError" in str(refused)
            assert "`peers:` of 'relay' does not list it" in str(refused)


@pytest.mark.source("B34")
async def test_b34_the_channel_is_the_path_decoded_and_without_the_query() -> None:
    async with Recorder().running(port=0) as peer:
        base = peer.serving.uri()
        for path in ("", "a/b", "caf%C3%A9%20x", "q?colour=red"):
            async with connect(base + path) as websocket:
                await websocket.send("x")
                await websocket.recv()
        assert [channel for channel, _ in peer.seen] == ["", "a/b", "café x", "q"]

    clients: list[Client] = []

    class Noting:
        def client_opened(self, client: Client) -> None:
            clients.append(client)

        async def answer(self, client: Client, message: object) -> str:
            return "ok"

        def client_closed(self, client: Client, reason: str) -> None: ...

    door = Door(Noting())
    await door.open("localhost", 0)
    async with connect(f"ws://localhost:{door.port}/q?colour=red&n=1") as websocket:
        await websocket.send("x")
        await websocket.recv()
    await door.drain()
    await door.close()
    assert [(client.channel, client.query) for client in clients] == [("q", "colour=red&n=1")]


@pytest.mark.source("B35")
@pytest.mark.fleet
def test_b35_the_sound_is_an_argument_in_the_grid(tmp_path: Path) -> None:
    grid = write_grid(tmp_path, "nodes: {buzzer: {sketch: buzzer, args: {sound: ding dong, bell: true}}}")
    with arduino("buzzer", "--grid", grid, "--port", "0") as buzzer:
        assert ask(serving_port(buzzer), "1") == ["ding dong"]
        assert buzzer.count("\a") == 0  # a pipe has no bell; on a terminal it rings


@pytest.mark.source("B36")
@pytest.mark.fleet
def test_b36_the_clock_sends_tacks_every_delay_and_prints_both_ways() -> None:
    assert inspect.signature(sketches.Clock.setup).parameters["delay"].default == 1
    assert inspect.signature(sketches.Clock.setup).parameters["tacks"].default is None
    with arduino("buzzer", "--port", "0") as peer:
        options = ["--port", str(serving_port(peer)), "--tacks", "3", "--delay", "0.05"]
        clock = finished(arduino("clock", *options))
        assert clock.wait() == 0
        peer.wait_for(r"\*\* new client connected, path=/datafeed$")
    acks = ["...", "buzz buzz buzz", "..."]
    assert clock.stdout == [
        f"[ clock ] {line}" for tick, ack in enumerate(acks) for line in (f"> {tick}", f"< {ack}")
    ]


@pytest.mark.source("B37")
async def test_b37_the_pin_toggles_by_chance_in_a_sequence(capsys: pytest.CaptureFixture[str]) -> None:
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(sketches.IOPin.setup).parameters.items()
    }
    assert (defaults["chance"], defaults["sequence"]) == (0.5, 3)
    assert mesh.grid().node("iopin").args["chance"] == 0.6
    async with Recorder().running(port=0) as buzzer:
        for chance, bit in ((1, "0"), (0, "1")):
            buzzer.seen.clear()
            pin = as_node(sketches.IOPin, {"buzzer": buzzer}, chance=chance, sequence=4)
            assert await told(pin, ["7"], "datafeed") == ["acknowledged"]
            assert [message for _, message in buzzer.seen] == [bit] * 4
    out = capsys.readouterr().out
    assert "[ iopin ] new tick triggered on datafeed: 7\n" in out
    assert "[ iopin ] toggling pin state: [0, 0, 0, 0]\n" in out
    random = Random(1)
    expected = [0 if random.random() < 0.6 else 1 for _ in range(3)]
    async with Recorder().running(port=0) as buzzer:
        await told(as_node(sketches.IOPin, {"buzzer": buzzer}, chance=0.6, seed=1), ["0"])
        assert [message for _, message in buzzer.seen] == [str(bit) for bit in expected]


@pytest.mark.source("B38")
@pytest.mark.fleet
def test_b38_the_lines_of_a_life_and_a_class_that_does_nothing() -> None:
    with arduino("buzzer", "--port", "0", env={"PYTHONUNBUFFERED": None}) as buzzer:
        port = serving_port(buzzer)
        second = finished(arduino("buzzer", "--port", str(port)))
        assert second.wait() == 1
        assert "Cannot bind to this port! Is the server already running?" in second.stderr[-1]
        assert buzzer.stop() == 0
        assert buzzer.stdout[0] == f"[ buzzer ] serving on localhost:{port}"
        assert "[ buzzer ] Keyboard interruption, aborting." in buzzer.stdout

    class Idle(factory.FactoryLoop):
        pass

    with pytest.raises(factory.SketchError, match="Idle does nothing"):
        Idle()
    sketches.Clock()  # client-only is another matter


@pytest.mark.source("B39")
async def test_b39_clients_come_and_go_aloud_and_every_ack_is_kept(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept: list[tuple[object, str]] = [(None, "n/a"), ("", ""), (0, "0"), (False, "false"), ([], "[]")]
    for value, plain in kept:
        assert await told(Recorder(answer=value), ["x"], "some/path") == [plain]
    out = capsys.readouterr().out
    assert out.count("[ recorder ] ** new client connected, path=/some/path\n") == 5
    assert len(re.findall(r"^\[ recorder \] done processing messages: .+$", out, re.MULTILINE)) == 5
    # An exception refuses that one message, and the connection goes on.
    answers = await told(Recorder(fail="b"), ["a", "b", "c"])
    assert answers == ["ok", '{"error":{"type":"ValueError","message":"no b"}}', "ok"]


@pytest.mark.source("B40")
@pytest.mark.fleet
def test_b40_short_options_defaults_and_an_unknown_sketch() -> None:
    with shipped_ports(), verbatim("./arduino.py iopin") as pin:
        pin.wait_for("serving on localhost:8765$")
        for line in ("./arduino.py clock", "./arduino.py clock -s localhost -p 8765 -t 1 -d 0.01"):
            before = pin.mark
            with verbatim(line) as clock:
                pin.wait_for("new tick triggered on datafeed: 0$", since=before)
                clock.wait_for("> 0$")
    for word, more in (("toaster", ""), ("buzer", "did you mean 'buzzer'?")):
        done = subprocess.run(
            [sys.executable, LAUNCHER, word], capture_output=True, text=True, check=False, timeout=DEADLINE
        )
        assert done.returncode == 2
        assert "unknown sketch, please choose clock, iopin or buzzer" in done.stderr
        assert more in done.stderr
