"""From a message to its answer: what is told of it, and who is told to have come and gone."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

import factory
import mesh
from tests.helpers.proc import DEADLINE
from tests.helpers.sketch import Recorder, as_node
from tests.helpers.sketch_bench import logged, made


class Oven(factory.FactoryLoop):
    def setup(self) -> None:
        self.tries = 0

    @factory.reactive("later")
    async def later(self, channel: str, msg: Any) -> Any:
        self.tries += 1
        if self.tries % 4:
            raise factory.Nack(f"try {self.tries}", retry_in=0.001)
        return self.tries

    @factory.reactive("{word}")
    async def refuse(self, channel: str, msg: Any, word: str) -> Any:
        raise {"not-now": factory.Nack, "never": factory.Reject, "crash": ValueError}[word]("because")

    @factory.reactive("echo/{_rest:path}")
    async def echo(self, channel: str, msg: Any, _rest: str) -> Any:
        return msg


@pytest.mark.parametrize("plain", [False, True], ids=["link", "plain"])
@pytest.mark.parametrize(
    ("channel", "level", "kind"),
    [("not-now", "info", "Nack"), ("never", "info", "Reject"), ("crash", "warning", "ValueError")],
)
async def test_a_deliberate_answer_is_told_in_one_quiet_line_and_a_crash_is_not(
    channel: str, level: str, kind: str, plain: bool
) -> None:
    with logged() as log:
        async with made(Oven).running(port=0) as oven:
            if plain:
                async with oven.serving.connection(channel) as websocket:
                    await websocket.send("x")
                    assert kind in str(await websocket.recv())
            else:
                async with mesh.connect(oven.serving) as peer:
                    with pytest.raises(mesh.NackedError, match=f"{kind}: because"):
                        await peer.stream("x", channel)
    (line,) = log.having("refused a message")
    words = f"{level}: handler refuse() refused a message on channel '{channel}': {kind}: because"
    assert line.startswith(words)
    assert ("(at " in line) == (channel == "crash")
    (record,) = [record for record in log.records if "refused a message" in record.getMessage()]
    assert not record.exc_info


@pytest.mark.parametrize("plain", [False, True], ids=["link", "plain"])
async def test_retries_are_told_once_for_each_message(plain: bool) -> None:
    with logged() as log:
        async with made(Oven).running(port=0) as oven:
            if plain:
                async with oven.serving.connection("later") as websocket:
                    for answer in ("4", "8"):
                        await websocket.send("x")
                        assert await websocket.recv() == answer
            else:
                async with mesh.connect(oven.serving) as peer:
                    assert await peer.stream(["x", "y"], "later") == [4, 8]
    assert log.having("later()") == [
        "info: handler later() wants a message on channel 'later' again in 0.001 s: Nack: try 1",
        "info: handler later() wants a message on channel 'later' again in 0.001 s: Nack: try 5",
    ]


async def test_an_unknown_channel_is_refused_alike_on_every_way() -> None:
    with logged() as log:
        async with made(Oven).running(port=0) as oven:
            async with oven.serving.connection("no/such") as websocket:
                await websocket.send("x")
                plain = str(await websocket.recv())
            async with mesh.connect(oven.serving) as peer:
                with pytest.raises(mesh.NackedError) as caught:
                    await peer.stream("x", "no/such")
                with pytest.raises(mesh.NackedError, match="\\$nothing"):
                    await peer.stream("x", "$nothing")
    assert caught.value.type == "UnknownChannelError"
    assert caught.value.reason.startswith("no handler takes channel 'no/such'; oven takes ")
    assert caught.value.reason in plain
    assert log.having("no/such") == []


async def test_a_peer_comes_and_goes_once_however_many_channels_it_has(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with made(Oven).running(port=0) as oven, asyncio.timeout(DEADLINE):
        for _ in range(2):
            async with as_node(Recorder, {"oven": oven}).running(port=0) as sender:
                for channel in ("echo/a", "echo/b", "echo/a"):
                    await sender.stream("oven", "x", channel, quiet=True)
            await _until_alone(oven)
        async with oven.serving.connection("echo/c") as websocket:
            await websocket.send("x")
            await websocket.recv()
    said = re.findall(r"^\[ oven \] (\*\*|done) ", capsys.readouterr().out, re.MULTILINE)
    assert said == ["**", "done", "**", "done", "**", "done"]


async def test_the_lines_of_a_link_name_the_first_channel(capsys: pytest.CaptureFixture[str]) -> None:
    async with made(Oven).running(port=0) as oven, mesh.connect(oven.serving) as peer:
        await peer.stream("x", "$ledger")
        await peer.stream("x", "echo/first")
        await peer.stream("x", "echo/second")
    out = capsys.readouterr().out
    assert re.findall(r"new client connected, path=(.*)", out) == ["/echo/first"]


async def _until_alone(sketch: factory.FactoryLoop) -> None:
    async with asyncio.timeout(DEADLINE):
        for link in sketch._worker.hub._links.values():
            await asyncio.wait([link.detached])


# -- the end ---------------------------------------------------------------------------------


class LastWords(factory.FactoryLoop):
    peer: mesh.Node

    @factory.reactive
    async def loop(self, channel: str, msg: Any) -> Any:
        return msg

    @factory.on_stop
    async def say(self) -> None:
        await self.stream(self.peer, "off", quiet=True)


async def test_a_link_that_is_dialled_in_a_stop_hook_says_goodbye(capsys: pytest.CaptureFixture[str]) -> None:
    async with as_node(Recorder, {}).running(port=0) as recorder:
        last = made(LastWords)
        last.peer = recorder.serving
        async with last.running(port=0):
            pass
        assert [message for _, message in recorder.seen] == ["off"]
        await _until_alone(recorder)
    out = capsys.readouterr().out
    assert "done processing messages: the peer closed it (1000 the link was closed)" in out
    assert "without a goodbye" not in out
