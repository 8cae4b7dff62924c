"""What a link answers, refuses, repeats and remembers; and its ledger, as read from outside."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

import factory
import mesh
from tests.helpers.clients import ask, client, serving_port
from tests.helpers.fleet import write_grid
from tests.helpers.link_fleet import RawLink, ledger, start_sink, start_source, the_line
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, Proc, arduino

pytestmark = pytest.mark.fleet


def uri(sink: Proc) -> str:
    return f"ws://localhost:{serving_port(sink)}"


@pytest.mark.usefixtures("each_loop")
async def test_answers_keep_their_types_and_plain_clients_get_text(tmp_path: Path) -> None:
    with start_sink(tmp_path) as sink:
        async with mesh.connect(uri(sink)) as peer:
            acks = await peer.stream(["none", "dict", "bytes", "number"], channel="values")
            assert acks == [None, {"a": [1, None]}, b"x", 7]
        replies = ask(serving_port(sink), "dict", "bytes", "number", channel="values")
        assert replies == ['{"a":[1,null]}', b"x", "7"]


@pytest.mark.usefixtures("each_loop")
async def test_a_nack_asks_for_the_message_again_and_holds_the_channel(tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    with start_sink(tmp_path, journal=tried) as sink:
        async with mesh.connect(uri(sink)) as peer:
            begin = time.monotonic()
            acks = await peer.stream(["1", "2"], channel="nack/2")
            assert acks == ["1 at try 3", "2 at try 3"]
            assert time.monotonic() - begin >= 4 * 0.05
            assert tried.read_text().split() == ["1"] * 3 + ["2"] * 3, "the second waits for the first"

            tried.write_text("")
            acks = await peer.stream(["3", "4"], channel="nack/1000", on_nack="yield")
            assert [(ack.type, ack.reason) for ack in acks] == [("Nack", "3 not now"), ("Nack", "4 not now")]
            # At the first time, and five times more.
            assert tried.read_text().split() == ["3"] * 6 + ["4"] * 6
            line = the_line(peer.ledger(), "sent", "nack/1000")
            assert (line["sent"], line["refused"], line["balanced"]) == (2, 2, True)


async def test_a_channel_that_waits_for_a_nack_holds_up_no_other(tmp_path: Path) -> None:
    with start_sink(tmp_path) as sink:
        async with mesh.connect(uri(sink)) as peer:
            slow = asyncio.ensure_future(_awaited(peer.stream("x", channel="later")))
            await asyncio.to_thread(sink.wait_for, "not now$")
            assert len(await peer.stream(range(100), channel="same")) == 100
            assert not slow.done()
            slow.cancel()
            await asyncio.gather(slow, return_exceptions=True)


async def _awaited(stream: factory.Stream) -> list[object]:
    acks: list[object] = await stream
    return acks


async def test_a_reject_is_final(tmp_path: Path) -> None:
    with start_sink(tmp_path) as sink:
        async with mesh.connect(uri(sink)) as peer:
            with pytest.raises(mesh.NackedError, match="Reject: never x, try 1") as refused:
                await peer.stream("x", channel="reject")
            assert (refused.value.type, refused.value.reason) == ("Reject", "never x, try 1")
            assert refused.value.peer == f"localhost:{serving_port(sink)}"


async def test_an_answer_that_does_not_come_in_time_is_told_by_name(tmp_path: Path) -> None:
    with start_sink(tmp_path) as sink:
        async with mesh.connect(uri(sink)) as peer:
            await peer.stream("x", channel="same")
            begin = time.monotonic()
            with pytest.raises(mesh.AckTimeoutError, match=r"within \d\.\d s") as late:
                await peer.stream("x", channel="never", ack_timeout=0.3)
            waited = time.monotonic() - begin
            assert 0.3 <= waited < DEADLINE / 2
            assert late.value.peer == f"localhost:{serving_port(sink)}"
            assert await peer.stream("y", channel="same") == ["y"]
            line = the_line(peer.ledger(), "sent", "never")
            assert (line["failed"], line["in_flight"], line["balanced"]) == ({"ack timeout": 1}, 0, True), (
                line
            )


def test_a_sketch_is_told_when_its_peer_goes_and_comes(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with start_source(tmp_path, port) as source:
        source.wait_for("waiting for sink at ")
        with start_sink(tmp_path, port=port) as sink:
            source.wait_for("peer sink up: connected$")
            sink.wait_for("peer source up$")
            source.wait_for("at 100$")
            sink.process.kill()
            source.wait_for("peer sink down: ")
        with start_sink(tmp_path, port=port):
            source.wait_for("peer sink up: restarted$")
            books = json.loads(source.wait_for("books (.*)$")[1])
            assert source.wait() == 0, source
            line = the_line(books["peers"], "sent", "numbers")
            assert line["sent"] == line["acked"] == books["count"]


# -- the ledger ------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["", "?", b"\0\xff", '{"a": 1}'])
def test_the_ledger_answers_anything(tmp_path: Path, message: str | bytes) -> None:
    with start_sink(tmp_path) as sink:
        (reply,) = ask(serving_port(sink), message, channel="$ledger")
        books = json.loads(reply)
        assert (books["node"], list(books["peers"]), books["omitted"]) == ("sink", ["(plain clients)"], 0)
        assert sink.count("client connected") == 0, "whoever looks is no client of the sketch"


async def test_the_ledger_counts_refusals_and_cancelled_ones(tmp_path: Path) -> None:
    with start_sink(tmp_path) as sink:
        async with mesh.connect(uri(sink)) as peer:
            acks = await peer.stream(range(100), channel="odd", on_nack="yield")
            assert [ack for ack in acks if isinstance(ack, int)] == list(range(1, 100, 2))
            stuck = asyncio.ensure_future(_awaited(peer.stream(["a", "b"], channel="never")))
            await asyncio.to_thread(sink.wait_for, "in hand$")
            books = (await peer.stream("", channel="$ledger"))[0]
            assert books["node"] == "sink"
            line = the_line(books["peers"], "received", "odd")
            wanted = {"received": 100, "handled": 50, "refused": 50, "duplicates": 0, "in_hand": 0}
            assert {key: line[key] for key in wanted} == wanted
            assert the_line(books["peers"], "received", "never")["in_hand"] == 2
            assert await asyncio.to_thread(ledger, serving_port(sink))
            stuck.cancel()
            await asyncio.gather(stuck, return_exceptions=True)
            ours = the_line(peer.ledger(), "sent", "never")
            assert (ours["sent"], ours["cancelled"], ours["balanced"]) == (2, 2, True)
            ours = the_line(peer.ledger(), "sent", "odd")
            assert (ours["sent"], ours["acked"], ours["refused"]) == (100, 50, 50)


@pytest.mark.usefixtures("each_loop")
def test_the_ledger_counts_what_comes_twice_and_it_is_handled_once(tmp_path: Path) -> None:
    handled = tmp_path / "handled"
    with start_sink(tmp_path, journal=handled) as sink:
        port = serving_port(sink)
        with RawLink(port) as link:
            assert link.hello()[0] == 1
            session = link.welcome["session"]
            link.send([3, "numbers", 1, 1, ["1", "2", "3"]], [3, "odd", 1, 1, ["1", "2"]])
            link.until([4, 5], 5)
        # Lost without a goodbye, and back: all of it again, and two more.
        sink.wait_for("peer raw down$")
        with RawLink(port) as link:
            assert link.hello(session=session, connections=1)[0] == 1
            assert link.welcome["resumed"]
            link.send([3, "numbers", 1, 1, ["1", "2", "3", "4", "5"]], [3, "odd", 1, 1, ["1", "2"]])
            answers = link.until([4, 5], 7)
            assert {(kind, channel) for kind, channel, *_ in answers} == {
                (4, "numbers"),
                (4, "odd"),
                (5, "odd"),
            }
            books = ledger(port)
            line = the_line(books["peers"], "received", "numbers")
            assert (line["received"], line["handled"], line["duplicates"]) == (8, 5, 3)
            line = the_line(books["peers"], "received", "odd")
            assert (line["received"], line["handled"], line["refused"], line["duplicates"]) == (4, 1, 1, 2)
        assert handled.read_text().split() == ["1", "2", "3", "4", "5"]


# -- names -------------------------------------------------------------------------------

TWIN = '''\
import factory


class Twin(factory.FactoryLoop):
    """Say the same thing for ever."""

    patience = 30.0

    def items(self):
        while True:
            yield "1"

    @factory.every(3600)
    async def send(self):
        count = 0
        async for _ in self.stream("sink", self.items(), channel="same", quiet=True):
            count += 1
            if count % 100 == 0:
                self.out(f"{count} acked")
'''


def test_a_second_process_that_claims_a_live_name_is_refused_and_says_so(tmp_path: Path) -> None:
    with start_sink(tmp_path) as sink:
        port = serving_port(sink)
        (tmp_path / "twin.py").write_text(TWIN, encoding="utf-8")
        grid = write_grid(tmp_path, f"nodes: {{sink: {{port: {port}}}, twin: {{sketch: 'twin.py:Twin'}}}}")
        with arduino("twin.py", "--grid", grid, cwd=tmp_path) as one:
            one.wait_for("100 acked$")
            with arduino("twin.py", "--grid", grid, cwd=tmp_path) as two:
                # Its stream fails by name, the sink says so as well, and the first one never notices.
                two.wait_for(
                    "NameTakenError: sink at .* refuses a link with this process .*give one of the two"
                )
                sink.wait_for("refused a link with twin at .*name-taken: ")
                one.wait_for(r"\d+ acked$", since=one.mark)
                assert two.count("acked$") == 0
                assert sink.count("done processing") == 0
                assert two.stop() == 0
            assert len([peer for peer in ledger(port)["peers"] if peer == "twin"]) == 1
            assert one.stop() == 0, one
        with client(port, "same") as websocket:
            websocket.send("alive")
            assert websocket.recv(DEADLINE) == "alive"
