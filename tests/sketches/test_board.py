"""Boards 1: a board as a node of the mesh."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

import factory
import mesh
from factory.boards.drawing import draw
from factory.boards.firmata.messages import SetMode, SetPin, Version
from factory.boards.io import harness
from factory.boards.io import node as board_node
from factory.errors import SetupError
from factory.fitting import check_sketches
from sketches import Board, Buzzer, IOPin
from tests.helpers.firmata import pty_client, tcp_client
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, ROOT, Proc, arduino, finished
from tests.helpers.sketch import as_node, tell

pytestmark = pytest.mark.integration


@asynccontextmanager
async def running(**arguments: Any) -> AsyncIterator[Board]:
    """Run a board that is called ``uno``."""
    uno = Board.as_node(mesh.Node("uno"), mesh.Grid([]), **arguments)
    async with uno.running(port=0):
        yield uno


def watching(node: mesh.Node) -> connect:
    """Connect as a plain client that is told of pin 13."""
    return connect(node.uri("pin/13") + "?subscribe")


def listening(node: mesh.Node) -> connect:
    """Connect as a plain client that gets the bytes of the first UART."""
    return connect(node.uri("uart/0") + "?subscribe")


async def refusal(peer: mesh.Peer, value: object, channel: str) -> str:
    """Return why a message is refused."""
    with pytest.raises(mesh.NackedError) as caught:
        await peer.request(value, channel)
    return f"{caught.value.type}: {caught.value.reason}"


async def test_a_plain_client_writes_a_pin_and_another_one_is_told() -> None:
    async with running() as uno, watching(uno.serving) as watcher:
        assert "subscribe" not in await tell(uno.serving, ["1", "0", "1"], "pin/13")
        assert [await watcher.recv() for _ in range(3)] == ["1", "0", "1"]
        async with watching(uno.serving) as late:
            assert await late.recv() == "1"


@pytest.mark.parametrize(
    ("channel", "value"), [("pin/9/pwm", 200), ("pin/10/servo", 45), ("pin/3/tone", 440), ("analog/0", 700)]
)
async def test_each_signal_has_a_channel(channel: str, value: int) -> None:
    async with running() as uno, mesh.connect(uno.serving, name="watcher") as peer:
        subscription = peer.subscribe(channel)
        await peer.request(value, channel)
        async with asyncio.timeout(DEADLINE):
            assert await anext(aiter(subscription)) == value


async def test_an_input_is_driven_from_outside() -> None:
    async with running(modes={"2": "INPUT_PULLUP"}) as uno, mesh.connect(uno.serving) as peer:
        pin = uno.board.board.pin(2)
        assert pin.digital_read() == 1
        await peer.request(0, "pin/2")
        assert pin.digital_read() == 0
        await peer.request("INPUT", "pin/2/mode")
        await peer.request("1", "pin/2")
        assert pin.digital_read() == 1


async def test_a_node_owns_what_it_writes_until_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_node, "GRACE", 0.05)
    async with running() as uno, mesh.connect(uno.serving) as script:
        pin = uno.board.board.pin(13)
        async with mesh.connect(uno.serving, name="blink") as blink:
            await blink.request(1, "pin/13")
            assert pin.owner == "blink"
            refused = await refusal(script, 0, "pin/13")
            assert refused.startswith("Nack: pin uno.13 belongs to blink, who set it as an output")
            assert "belongs to blink" in (await tell(uno.serving, ["0"], "pin/13"))[0]  # type: ignore[operator]
            await script.request(0, "pin/13/level/force")
            assert (pin.digital_read(), pin.owner) == (0, "blink")
            await blink.request(1, "pin/13")
        async with asyncio.timeout(DEADLINE):
            while pin.owner:  # noqa: ASYNC110 - the board waits whether it comes back
                await asyncio.sleep(0.01)
        assert pin.digital_read() == 0
        await script.request(1, "pin/13")
        assert pin.owner is None


_OWNER = """\
import asyncio, sys, mesh
async def main():
    async with mesh.connect(sys.argv[1], name="blink") as uno:
        await uno.request(1, "pin/12")
        print("written", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "left"])
async def test_an_owner_that_is_back_at_once_as_another_process_has_lost_its_outputs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], killed: bool
) -> None:
    monkeypatch.setattr(board_node, "GRACE", 600.0)  # so it is not the time that does it
    async with running() as uno:
        pin = uno.board.board.pin(12)
        if killed:
            with Proc(sys.executable, "-c", _OWNER, uno.serving.uri(), env={"PYTHONPATH": str(ROOT)}):
                await until(lambda: pin.digital_read() == 1)
        else:
            async with mesh.connect(uno.serving, name="blink") as blink:
                await blink.request(1, "pin/12")
        await until(lambda: "blink" in uno.board._leaving)
        assert (pin.owner, pin.digital_read()) == ("blink", 1)
        async with mesh.connect(uno.serving, name="blink") as blink:
            state = await blink.request("", "pin/12/state")
        assert (state["owner"], state["level"]) == (None, 0)
    assert "blink has begun anew; fail-safe: uno.12" in capsys.readouterr().out


async def test_an_owner_whose_link_broke_and_goes_on_keeps_its_outputs() -> None:
    async with running() as uno, mesh.connect(uno.serving, name="blink") as blink:
        await blink.request(1, "pin/12")
        uno.on_peer("blink", "down", "the connection was lost")
        uno.on_peer("blink", "up", "resumed")
        pin = uno.board.board.pin(12)
        assert (pin.owner, pin.digital_read(), uno.board._leaving) == ("blink", 1, {})


async def test_a_pulse_of_a_node_that_has_gone_leaves_the_pin_safe_and_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(board_node, "GRACE", 0.05)
    async with running() as uno, mesh.connect(uno.serving) as script:
        pin = uno.board.board.pin(12)
        async with mesh.connect(uno.serving, name="blink") as blink:
            await blink.request(1, "pin/12")
            assert await blink.request(60_000, "pin/12/pulse") == 0
        await until(lambda: pin.owner is None)
        # As if the minute was over.
        uno.board.bench.advance(uno.board.bench.time + 61)
        assert (pin.owner, pin.digital_read()) == (None, 0)
        assert await script.request(1, "pin/12") == 1


@pytest.mark.parametrize(
    ("value", "channel", "words"),
    [
        (2, "pin/13", "Reject: '2' is out of range for pin uno.13: a level is a whole number from 0 to 1"),
        ("on", "pin/13", "Reject: 'on' is no whole number, which pin uno.13 takes"),
        (1, "pin/99", "Reject: uno has no pin '99'; the Arduino Uno has pins 0 to 19"),
        (1, "pin/13/pwm", "Reject: pin uno.13 cannot be PWM"),
        (1, "pin/9/pmw", "Reject: pin uno.9 has no 'pmw', did you mean 'pwm'?"),
        ("INPT", "pin/9/mode", "Reject: 'INPT' is no mode of pin uno.9, did you mean 'INPUT'?"),
        (1024, "analog/0", "Reject: '1024' is out of range for pin uno.A0: an analog value"),
        (1, "analog/9", "Reject: uno has no pin 'A9'"),
        (1, "pin/9/state/force", "Reject: pin uno.9 has no 'state'"),
        ("press", "part/knbo", "Reject: uno has no part 'knbo', did you mean 'knob'?; it has knob"),
        ("press", "part/knob", "Reject: part knob cannot be told 'press': it takes a position from 0 to 1"),
        (2, "power", "Reject: power of uno is 0 or 1, not '2'"),
        (b"x", "uart/9", "Reject: uno has no UART 9; the Arduino Uno has 0"),
        (b"\x01", "pin/13", "Reject: "),
    ],
)
async def test_what_cannot_be_is_refused_and_says_why(value: object, channel: str, words: str) -> None:
    async with running(parts={"knob": {"potentiometer": "A0"}}) as uno, mesh.connect(uno.serving) as peer:
        refused = await refusal(peer, value, channel)
        assert refused.startswith(words)
        await peer.request(1, "pin/13")


async def test_parts_and_wires() -> None:
    parts = {
        "lamp": {"led": "12"},
        "key": {"button": "2", "bounce": 0},
        "knob": {"potentiometer": "A0", "position": 0.25},
        "eye": {"ultrasonic": ["7", "8"], "centimetres": 30},
    }
    wires = [["13", "12", "A1"]]
    async with running(parts=parts, wires=wires, modes={"2": "INPUT_PULLUP", "A1": "INPUT"}) as uno:
        async with mesh.connect(uno.serving) as peer:
            await peer.request(1, "pin/13")
            assert await peer.request("press", "part/key") == "pressed"
            assert await peer.request("0.5", "part/knob") == "50 %"
            state = await peer.request("", "pins")
        by_name = {pin["name"]: pin for pin in state["pins"]}
        assert (by_name["A1"]["level"], by_name["2"]["level"]) == (1, 0)
        assert state["parts"] == {"lamp": "on", "key": "pressed", "knob": "50 %", "eye": "30 cm"}


async def test_edges_are_numbered_and_published_in_batches() -> None:
    async with running() as uno, mesh.connect(uno.serving, name="watcher") as peer:
        subscription = aiter(peer.subscribe("edges"))
        for level in (1, 0, 1):
            await peer.request(level, "pin/13")
        got: list[Any] = []
        async with asyncio.timeout(DEADLINE):
            while len(got) < 3:
                batch = await anext(subscription)
                assert batch["missed"] == 0
                got += batch["edges"]
        assert [[number, *rest] for number, _, *rest in got] == [
            [1, 13, "level", 1],
            [2, 13, "level", 0],
            [3, 13, "level", 1],
        ]
        answer = await peer.request(1, "edges")
        assert answer == {"edges": got[1:], "missed": 0, "made": 3, "run": uno.board.run}


async def test_a_board_that_began_anew_is_told_from_the_one_before() -> None:
    runs = []
    for _ in range(2):
        async with running() as uno, mesh.connect(uno.serving) as peer:
            answers = [
                await peer.request(*words) for words in ((0, "edges"), ("", "pins"), ("", "pin/13/state"))
            ]
            assert len({answer["run"] for answer in answers}) == 1
            runs.append(answers[0]["run"])
    assert runs[0] != runs[1]


async def test_an_unset_pin_says_what_others_drive_its_net_to() -> None:
    async with running(wires=[[7, 8]]) as uno, mesh.connect(uno.serving) as peer:
        assert "net" not in await peer.request("", "pin/8/state")
        for level in (1, 0):
            await peer.request(level, "pin/7")
            state = await peer.request("", "pin/8/state")
            assert (state["mode"], state["net"]) == ("UNSET", level)
        assert "net" not in await peer.request("", "pin/7/state")


async def test_an_unplugged_board() -> None:
    async with running() as uno, mesh.connect(uno.serving, name="blink") as peer:
        await peer.request(1, "pin/13")
        await peer.request(0, "power")
        assert (await refusal(peer, 1, "pin/13")).startswith("Nack: uno is lost: it is unplugged")
        assert (await peer.request("", "pins"))["lost"] == "it is unplugged"
        await peer.request(1, "power")
        await peer.request(1, "pin/13")
        assert uno.board.board.pin(13).digital_read() == 1


async def test_the_pin_and_the_buzzer_use_a_board() -> None:
    async with running() as uno:
        buzzer = as_node(Buzzer, {"uno": uno}, board="uno", pin=3)
        async with buzzer.running(port=0):
            pin = as_node(IOPin, {"uno": uno, "buzzer": buzzer}, board="uno", seed=1, sequence=8)
            async with pin.running(port=0):
                await tell(pin.serving, ["0"])
        edges = [(e.pin, e.signal.name, e.value) for e in uno.board.board.log.since(0)[0]]
    levels = [value for number, _, value in edges if number == 13]
    tones = [value for number, name, value in edges if (number, name) == (3, "TONE")]
    assert len(levels) > 2
    assert len(tones) > 2
    assert set(tones) == {440, 0}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"board": "sim:unoo"}, r"there is no board 'unoo', did you mean 'uno'\?"),
        ({"board": "uno"}, r"board 'uno': choose sim:uno, avr:FIRMWARE.hex, serial:.* or tcp:HOST:PORT"),
        ({"parts": {"a": {"led": "99"}}}, r"uno has no pin '99'"),
        ({"parts": {"a": {"lde": "9"}}}, r"part a: there is no 'lde', did you mean 'led'\?"),
        ({"parts": {"a": {}}}, r"part a: there is no ''"),
        ({"parts": {"a": {"servo": "A0"}}}, r"pin uno\.A0 cannot be SERVO"),
        ({"modes": {"9": "PMW"}}, r"'PMW' is no mode of pin 9, did you mean 'PWM'"),
        ({"failsafe": {"9": 2}}, r"failsafe of pin 9: write 0, 1, or null"),
        ({"wires": [["9", "99"]]}, r"uno has no pin '99'"),
        ({"wires": [[9, 99]]}, r"uno has no pin '99'"),
        ({"wires": [["9", "uno.8"]]}, r"uno\.8 is a pin of this board itself; write 8, without uno\."),
        ({"wires": [["a.9", "b.9"]]}, r"a wire of which no end is on this board"),
        ({"firmata_tcp": 70_000}, r"the port for Firmata is from 0 .* to 65535, not 70000"),
    ],
)
async def test_a_board_that_cannot_be_built(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(SetupError, match=words):
        async with running(**arguments):
            pass


@asynccontextmanager
async def wired(here: list[str], **there: Any) -> AsyncIterator[tuple[Board, Board]]:
    """Run two boards; the first one has the wires."""
    port, other = free_ports(2)
    grid = mesh.Grid([mesh.Node("desk", port=port), mesh.Node("shelf", port=other)])
    desk = Board.as_node(grid.node("desk"), grid, wires=[here])
    shelf = Board.as_node(grid.node("shelf"), grid, **there)
    async with desk.running(), shelf.running():
        yield desk, shelf


async def until(ready: Callable[[], object]) -> None:
    """Wait for what another node brings about."""
    async with asyncio.timeout(DEADLINE):
        while not ready():  # noqa: ASYNC110 - nobody tells when
            await asyncio.sleep(0.005)


async def test_a_wire_between_two_nodes_goes_both_ways() -> None:
    async with wired(["13", "shelf.2"], modes={"2": "INPUT_PULLUP"}) as (desk, shelf):
        here, there = desk.board.board.pin(13), shelf.board.board.pin(2)
        async with mesh.connect(desk.serving) as peer:
            await peer.request("INPUT", "pin/13/mode")
            # The pull-up over there is felt over here.
            await until(lambda: here.digital_read() == 1)
            await peer.request("OUTPUT", "pin/13/mode")
            await until(lambda: there.digital_read() == 0)
            await peer.request(1, "pin/13")
            await until(lambda: there.digital_read() == 1)
            await peer.request(0, "pin/13")
            await until(lambda: there.digital_read() == 0)
        async with mesh.connect(shelf.serving) as peer:
            await peer.request("OUTPUT", "pin/2/mode")
            await peer.request(1, "pin/2")
            await until(lambda: desk.board.bench.shorts and shelf.board.bench.shorts)
        [short] = desk.board.bench.shorts.values()
        assert short.startswith("short between desk.13 and shelf.2: 100 mA")


async def test_an_analog_voltage_goes_over_a_wire() -> None:
    parts = {"knob": {"potentiometer": "A0", "position": 0.25}}
    async with wired(["A3", "shelf.A0"], parts=parts) as (desk, _):
        pin = desk.board.board.pin("A3")
        async with mesh.connect(desk.serving) as peer:
            await peer.request("ANALOG", "pin/A3/mode")
        await until(lambda: pin.analog_read() == 256)


async def test_a_wire_to_a_board_that_is_gone_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_node, "GRACE", 0.05)
    port, other = free_ports(2)
    grid = mesh.Grid([mesh.Node("desk", port=port), mesh.Node("shelf", port=other)])
    desk = Board.as_node(grid.node("desk"), grid, wires=[["2", "shelf.13"]], modes={"2": "INPUT_PULLUP"})
    async with desk.running():
        pin = desk.board.board.pin(2)
        for _ in range(2):
            shelf = Board.as_node(grid.node("shelf"), grid)
            async with shelf.running(), mesh.connect(shelf.serving) as peer:
                await peer.request(0, "pin/13")
                await until(lambda: pin.digital_read() == 0)
            await until(lambda: pin.digital_read() == 1)


async def test_a_uart_goes_over_a_wire() -> None:
    got = bytearray()

    async def read(peer: mesh.Peer) -> None:
        async for chunk in peer.subscribe("uart/0"):
            got.extend(chunk)

    text = b"hello\0\xff" * 2000
    async with (
        wired(["TX0", "shelf.RX0"]) as (desk, shelf),
        mesh.connect(shelf.serving, name="reader") as reader,
        mesh.connect(desk.serving) as writer,
        asyncio.TaskGroup() as group,
    ):
        reading = group.create_task(read(reader))
        await until(lambda: len(shelf.board.harness))
        while not got:  # the subscription may not be there yet
            assert await writer.request(b"x", "uart/0") == 1
            await asyncio.sleep(0.01)
        await writer.request(text, "uart/0")
        await until(lambda: got.endswith(text))
        assert set(got[: -len(text)]) == {ord("x")}
        # Whatever names a pin goes by, there is one wire, not one for each of them.
        assert (len(desk.board.harness), len(shelf.board.harness)) == (1, 1)
        reading.cancel()


async def test_bytes_are_for_those_who_listen_when_they_come() -> None:
    async with (
        wired(["TX0", "shelf.RX0"]) as (desk, shelf),
        mesh.connect(desk.serving) as writer,
        listening(shelf.serving) as first,
    ):
        assert await writer.request(b"one", "uart/0") == 1
        assert await first.recv() == b"one"
        # Bytes are no state: who comes later does not get the last of them once more.
        async with listening(shelf.serving) as second:
            await writer.request(b"two", "uart/0")
            assert (await first.recv(), await second.recv()) == (b"two", b"two")


async def test_bytes_that_a_wire_drops_are_counted_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    port, other = free_ports(2)
    grid = mesh.Grid([mesh.Node("desk", port=port), mesh.Node("shelf", port=other)])
    desk = Board.as_node(grid.node("desk"), grid, wires=[["TX0", "shelf.RX0"]])
    async with desk.running(), mesh.connect(desk.serving) as peer:
        # The board at the other end is not there yet: so much waits for it, and no more.
        assert await peer.request(b"a" * 40_000, "uart/0") == 1
        assert (await peer.request("", "pins"))["dropped"] == {}
        for _ in range(2):
            assert await peer.request(b"b" * 40_000, "uart/0") == 0
        state = await peer.request("", "pins")
        assert state["dropped"] == {"desk.1 to shelf.RX0": 120_000 - 65_536}
        assert "  ! 54464 bytes dropped from desk.1 to shelf.RX0" in draw("desk", state).splitlines()
        assert capsys.readouterr().out.count("the wire from desk.1 to shelf.RX0 takes no more bytes") == 1
        shelf = Board.as_node(grid.node("shelf"), grid)
        async with shelf.running(), listening(shelf.serving) as reader:
            got = b""
            while len(got) < 65_536:
                got += await reader.recv()  # type: ignore[operator]
            assert got == b"a" * 40_000 + b"b" * 25_536
            assert await peer.request(b"c", "uart/0") == 1
            assert await reader.recv() == b"c"


async def test_a_wire_that_ends_nowhere_takes_no_bytes() -> None:
    async with wired(["TX0", "shelf.99"]) as (desk, _), mesh.connect(desk.serving) as peer:
        [wire] = desk.board.harness._wires.values()
        await until(lambda: wire.ends_nowhere)
        assert await peer.request(b"hello", "uart/0") == 0
        assert (await peer.request("", "pins"))["dropped"] == {"desk.1 to shelf.99": 5}


@pytest.mark.parametrize(
    ("end", "words"), [("shlef.3", "did you mean 'shelf'"), ("mute.3", "mute")], ids=["unknown", "no port"]
)
async def test_a_wire_that_leads_to_no_node(end: str, words: str) -> None:
    grid = mesh.Grid([mesh.Node("desk", port=1), mesh.Node("shelf", port=2), mesh.Node("mute")])
    desk = Board.as_node(grid.node("desk"), grid, wires=[["13", end]])
    with pytest.raises(factory.HookError, match=words):
        async with desk.running(port=0):
            pass


async def test_a_wire_to_a_pin_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    async with wired(["13", "shelf.99"]) as (desk, _):
        [wire] = desk.board.harness._wires.values()
        await until(lambda: wire.ends_nowhere)
    assert "the wire from desk.13 to shelf.99 ends nowhere: shelf has no pin '99'" in capsys.readouterr().out


async def test_a_wire_that_was_refused_is_laid_when_the_other_board_is_put_right(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(board_node, "GRACE", 0.05)
    port, other = free_ports(2)
    grid = mesh.Grid([mesh.Node("desk", port=port), mesh.Node("shelf", port=other)])
    desk = Board.as_node(grid.node("desk"), grid, wires=[["13", "shelf.22"]])
    async with desk.running(), mesh.connect(desk.serving) as peer:
        await until(lambda: desk.board.harness._wires)
        [wire] = desk.board.harness._wires.values()
        for _ in range(2):
            async with Board.as_node(grid.node("shelf"), grid).running():
                await until(lambda: wire.ends_nowhere)
                await peer.request(1, "pin/13")
            await until(lambda: not wire.ends_nowhere)
        mega = Board.as_node(grid.node("shelf"), grid, board="sim:mega", modes={"22": "INPUT"})
        async with mega.running():
            await until(lambda: mega.board.board.pin(22).digital_read() == 1)
    assert capsys.readouterr().out.count("ends nowhere: shelf has no pin '22'") == 1


async def test_a_board_that_knows_not_who_wired_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    async with running() as uno, mesh.connect(uno.serving, name="stranger") as stranger:
        await stranger.request({"from": "stranger.3", "drive": [5.0, 25.0]}, "pin/2/wire")
        [wire] = uno.board.harness._wires.values()
        await until(lambda: wire.ends_nowhere)
        await stranger.request("INPUT", "pin/2/mode")
        assert uno.board.board.pin(2).digital_read() == 1
        for drive in ("x", [1], [5.0, 0.0], [1e9, 1.0]):
            refused = await refusal(stranger, {"from": "stranger.3", "drive": drive}, "pin/2/wire")
            assert "which is no [volts, ohms]" in refused
    assert (
        "the wire from uno.2 to stranger.3 ends nowhere: unknown node 'stranger'" in capsys.readouterr().out
    )


async def test_a_peer_cannot_lay_wires_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "MOST_WIRES", 2)
    async with running() as uno, mesh.connect(uno.serving, name="ann") as ann:
        for far in range(2):
            await ann.request({"from": f"ann.{far}", "drive": None}, "pin/2/wire")
        assert "2 is all that a board takes" in await refusal(
            ann, {"from": "ann.9", "drive": None}, "pin/2/wire"
        )


async def test_faults_come_and_go() -> None:
    async with running(modes={"2": "INPUT_PULLUP"}) as uno, mesh.connect(uno.serving) as peer:
        pin = uno.board.board.pin(2)
        assert await peer.request("stuck-0", "pin/2/fault") == "stuck-0"
        await peer.request(1, "pin/2")
        assert pin.digital_read() == 0
        await peer.request("noise", "pin/2/fault")
        assert pin.digital_read() == 1
        made = uno.board.board.log.made
        await until(lambda: uno.board.board.log.made >= made + 4)
        await peer.request("none", "pin/2/fault")
        made = uno.board.board.log.made
        assert "'bend' is no fault of pin uno.2; choose none, stuck-0, stuck-1 or noise" in await refusal(
            peer, "bend", "pin/2/fault"
        )
        await peer.request(0, "pin/2")
        assert uno.board.board.log.made <= made + 2


async def test_a_wire_cannot_be_laid_by_hand() -> None:
    async with running() as uno, mesh.connect(uno.serving, name="ann") as ann:
        for message in ({}, {"from": "bob.3", "drive": None}, {"from": "ann"}, {"from": 3}):
            assert "laid in the grid of a board" in await refusal(ann, message, "pin/2/wire")


def test_a_grid_is_checked_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(
        """\
nodes:
  uno:
    sketch: board
    port: 8770
    args:
      modes: {"2": INPT, "99": INPUT}
      failsafe: {"9": 2, "8": null, "7": true}
      parts:
        key: {bounce: 0, button: "2"}
        arm: {servo: A0}
        dig:
          ledd: "3"
      wires: [["2", "3"], ["2"], ["2", "77"]]
  due:
    sketch: board
    port: 8771
    args: {board: "sim:due", modes: {"99": INPUT, "2": INPT}, parts: {a: {servo: A0}, b: {lde: 3}}}
  real: {sketch: board, port: 8772, args: {board: "serial:/dev/ttyACM0"}}
""",
        encoding="utf-8",
    )
    with pytest.raises(mesh.GridError) as caught:
        check_sketches(mesh.grid(str(path)))
    found = [(problem.line, problem.column, problem.what) for problem in caught.value.problems]
    assert found == [
        (6, 20, "'INPT' is no mode of pin 2, did you mean 'INPUT'?"),
        (6, 32, "board has no pin '99'"),
        (7, 23, "failsafe of pin 9: write 0, 1, or null for letting go, not 2"),
        (7, 42, "failsafe of pin 7: write 0, 1, or null for letting go, not True"),
        (10, 14, "pin board.A0 cannot be SERVO"),
        (12, 11, "part dig: there is no 'ledd', did you mean 'led'?"),
        (13, 27, "a wire joins two pins or more, not 1"),
        (13, 34, "board has no pin '77'"),
        (17, 19, "there is no board 'due'"),
        (17, 56, "'INPT' is no mode of pin 2, did you mean 'INPUT'?"),
        (17, 90, "part b: there is no 'lde', did you mean 'led'?"),
    ]


def test_the_far_ends_of_wires_are_checked_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(
        """\
nodes:
  desk:
    sketch: board
    port: 8770
    args:
      wires: [[2, desk.3], [4, shlef.5], [5, shelf.99], [6, mute.1], [7, shelf.9], [8, mega.53], [9, real.99]]
  shelf: {sketch: board, port: 8771}
  mega: {sketch: board, port: 8772, args: {board: "sim:mega"}}
  real: {sketch: board, port: 8773, args: {board: "serial:/dev/ttyACM0"}}
  mute: {sketch: clock}
""",
        encoding="utf-8",
    )
    with pytest.raises(mesh.GridError) as caught:
        check_sketches(mesh.grid(str(path)))
    [own, unknown, pin, mute] = caught.value.problems
    assert [problem.line for problem in caught.value.problems] == [6] * 4
    assert [problem.column for problem in caught.value.problems] == [15, 28, 42, 57]
    assert (own.what, own.fix) == ("desk.3 is a pin of this board itself", "write 3, without desk.")
    assert unknown.what.startswith("unknown node 'shlef'")
    assert pin.what.startswith("shelf has no pin '99'")
    assert mute.what.startswith("node 'mute' has no port")


async def test_a_real_board_is_shared_with_other_firmata_clients() -> None:
    # The board at the end of the line stands for a real one; the node has the only line to it.
    async with (
        running(firmata_tcp=0) as real,
        running(board=f"tcp:localhost:{real.board.firmata_port}", firmata_tcp=0) as shared,
        tcp_client(shared.board.firmata_port or 0) as one,
        mesh.connect(shared.serving) as two,
    ):
        one.say(SetMode(13, 1), SetPin(13, 1))
        pin = real.board.board.pin(13)
        await until(lambda: pin.digital_read() == 1)
        assert "belongs to Firmata client" in await refusal(two, 0, "pin/13")
        await two.request(1, "pin/12")
        await until(lambda: real.board.board.pin(12).digital_read() == 1)
        await two.request("INPUT_PULLUP", "pin/2/mode")
        assert "is one of a board that is not simulated here" in await refusal(two, 0, "pin/2")
        assert "makes no tones" in await refusal(two, 440, "pin/3/tone")


class Nosy(factory.FactoryLoop):
    """Says who sent what."""

    @factory.reactive
    async def loop(self, channel, msg, sender=None):  # type: ignore[no-untyped-def]
        return f"{msg} of {sender}"


async def test_a_handler_learns_who_sends() -> None:
    nosy = Nosy.as_node(mesh.Node("nosy"), mesh.Grid([]))
    async with nosy.running(port=0):
        async with (
            mesh.connect(nosy.serving, name="ann") as ann,
            mesh.connect(nosy.serving, name="bob") as bob,
        ):
            assert await ann.request("a") == "a of ann"
            assert await bob.request("b") == "b of bob"
            assert [part async for part in ann.ask("c")] == ["c of ann"]
        assert await tell(nosy.serving, ["d"]) == ["d of None"]


@pytest.mark.fleet
@pytest.mark.parametrize("uvloop", ["0", "1"])
async def test_the_command_of_the_tutorial(tmp_path: Path, uvloop: str) -> None:
    port, firmata = free_ports(2)
    words = ("board", "--board", "sim:uno", "--port", str(port), "--firmata-tcp", str(firmata))
    env = {"SKETCHMESH_UVLOOP": uvloop}
    with arduino(*words, "--firmata-pty", "./uno", cwd=tmp_path, env=env) as process:
        process.wait_for(re.escape("Firmata on uno"))
        async with tcp_client(firmata) as over_tcp, pty_client(tmp_path / "uno") as over_pty:
            await over_tcp.hear(Version)
            await over_pty.hear(Version)
            async with watching(mesh.Node("uno", "localhost", port)) as watcher:
                over_pty.say(SetMode(13, 1), SetPin(13, 1))
                async with asyncio.timeout(DEADLINE):
                    assert await watcher.recv() == "1"
        assert process.stop() == 0
    assert [entry.name for entry in tmp_path.iterdir()] == []  # noqa: ASYNC240


@pytest.mark.fleet
async def test_boards_in_two_processes_talk_by_their_uarts(tmp_path: Path) -> None:
    ports = dict(zip(("a", "z"), free_ports(2), strict=True))
    (tmp_path / "grid.yaml").write_text(
        f"""\
nodes:
  a:
    sketch: board
    port: {ports["a"]}
    args: {{wires: [[TX0, z.RX0], [RX0, z.TX0]]}}
  z:
    sketch: board
    port: {ports["z"]}
    args: {{board: "sim:mega"}}
""",
        encoding="utf-8",
    )
    a, z = (mesh.Node(name, port=port) for name, port in ports.items())
    with (
        arduino("board", "--name", "a", cwd=tmp_path) as one,
        arduino("board", "--name", "z", cwd=tmp_path) as two,
    ):
        one.wait_for("serving on")
        two.wait_for("serving on")
        async with (
            asyncio.timeout(30),
            listening(a) as at_a,
            listening(z) as at_z,
            mesh.connect(a) as write_a,
            mesh.connect(z) as write_z,
        ):
            text = bytes(range(256)) * 100
            # The line may take a moment to be there; until then the bytes wait at its beginning.
            assert await write_a.request(text, "uart/0") == 1
            got = b""
            while len(got) < len(text):
                got += await at_z.recv()  # type: ignore[operator]
            assert got == text
            while not await write_z.request(b"and back\0\xff", "uart/0"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # the board that laid the wire has not told of it yet
            assert await at_a.recv() == b"and back\0\xff"


@pytest.mark.fleet
@pytest.mark.parametrize("taken", ["--firmata-tcp", "--port"])
def test_a_board_that_cannot_open_a_door_serves_nobody_and_leaves_nothing(tmp_path: Path, taken: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        doors = {"--port": "0", "--firmata-pty": "./uno", taken: str(other.getsockname()[1])}
        words = [word for door in doors.items() for word in door]
        process = finished(arduino("board", *words, cwd=tmp_path))
    assert process.wait() == 1
    assert process.count(f"localhost:{doors[taken]}")
    assert not process.count("serving on|raised")
    assert list(tmp_path.iterdir()) == []
