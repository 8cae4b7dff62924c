"""Processes that are killed, stopped and restarted in mid-stream: every message is accounted for."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.helpers.clients import client, serving_port
from tests.helpers.link_fleet import (
    journal,
    ledger,
    result,
    script,
    start_sink,
    start_source,
    the_line,
)
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE

pytestmark = pytest.mark.fleet

NUMBERS = """\
import asyncio, json, os, signal, sys
import mesh

async def main(uri, count, kill_at):
    acks = []
    async with mesh.connect(uri, patience=60.0) as peer:
        async for ack in peer.stream(range(count), channel="numbers"):
            acks.append(ack)
            if len(acks) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        print(json.dumps({"in order": acks == list(range(count)), "peers": peer.ledger()}))

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""
"""Streams numbers; dies by its own hand once it has so many acks."""


@pytest.mark.usefixtures("each_loop")
def test_a_receiver_killed_in_mid_stream_gets_the_rest_once_it_is_back(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    before, after = tmp_path / "before", tmp_path / "after"
    with start_sink(tmp_path, port=port, journal=before, more={"kill_at": 7001}) as sink:
        serving_port(sink)
        with script(tmp_path, NUMBERS, f"ws://localhost:{port}", 20_000, -1) as sender:
            assert sink.wait() == -signal.SIGKILL, sink
            with start_sink(tmp_path, port=port, journal=after) as again:
                said = result(sender)
                assert said["in order"]
                line = the_line(said["peers"], "sent", "numbers")
                assert line["balanced"]
                assert (line["sent"], line["acked"], line["in_flight"]) == (20_000, 20_000, 0)
                assert line["refused"] == line["cancelled"] == 0
                assert line["failed"] == {}
                # In order, nothing left out; what was handled and not acked is handled again.
                first, second = journal(before), journal(after)
                assert first == list(range(7001))
                assert second == list(range(second[0], 20_000))
                assert second[0] <= 7001
                theirs = the_line(ledger(port)["peers"], "received", "numbers")
                assert theirs["received"] == theirs["handled"] + theirs["duplicates"]
                assert theirs["handled"] == len(second)
                assert again.process.poll() is None


@pytest.mark.usefixtures("each_loop")
def test_a_sender_killed_in_mid_stream_disturbs_nobody(tmp_path: Path) -> None:
    with start_sink(tmp_path) as sink, client(serving_port(sink), "same") as bystander:
        port = serving_port(sink)
        uri = f"ws://localhost:{port}"
        bystander.send("before")
        assert bystander.recv(DEADLINE) == "before"
        mark = sink.mark
        with script(tmp_path, NUMBERS, uri, 20_000, 5000) as sender:
            assert sender.wait() == -signal.SIGKILL
        sink.wait_for(r"^\[ sink \] done processing messages: ", since=mark)
        bystander.send("after")
        assert bystander.recv(DEADLINE) == "after"
        with script(tmp_path, NUMBERS, uri, 2000, -1) as another:
            assert result(another)["in order"]
        assert sink.stop() == 0, sink
        assert not [line for line in sink.stderr if "registering new node" not in line], sink


@pytest.mark.usefixtures("each_loop")
def test_a_receiver_that_stands_still_is_noticed_and_nothing_is_handled_twice(tmp_path: Path) -> None:
    handled = tmp_path / "handled"
    with start_sink(tmp_path, journal=handled, more={"tell_at": 200}) as sink:
        port = serving_port(sink)
        with start_source(tmp_path, port, size=64 * 1024) as source:
            source.wait_for("at 100$")
            sink.wait_for("at 200$")
            stopped = time.monotonic()
            sink.send_signal(signal.SIGSTOP)
            source.wait_for("peer sink down: ")
            noticed = next(line.at for line in source.lines if "peer sink down" in line.text) - stopped
            # After two and a half seconds, where the machine has nothing else to do.
            assert noticed < 15.0, f"it took {noticed:.2f} s"
            print(f"\nSIGSTOP noticed after {noticed:.2f} s")
            sink.send_signal(signal.SIGCONT)
            words = source.wait_for("books (.*)$")
            said = json.loads(words[1])
            assert source.wait() == 0, source
            line = the_line(said["peers"], "sent", "numbers")
            assert line["balanced"]
            assert line["sent"] == line["acked"] == said["count"]
            assert journal(handled) == list(range(said["count"])), "each once, and in order"
            theirs = the_line(ledger(port)["peers"], "received", "numbers")
            assert theirs["handled"] == said["count"]


@pytest.mark.usefixtures("each_loop")
def test_a_receiver_that_is_terminated_answers_what_it_has_and_leaves_the_rest(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    before, after, pipe = tmp_path / "before", tmp_path / "after", tmp_path / "pipe"
    os.mkfifo(pipe)
    more = {"hold_at": 5000, "pipe": pipe}
    with start_sink(tmp_path, port=port, journal=before, more=more) as sink:
        serving_port(sink)
        with script(tmp_path, NUMBERS, f"ws://localhost:{port}", 200_000, -1) as sender:
            sink.wait_for("in hand$")
            sink.send_signal(signal.SIGTERM)
            pipe.write_text("go on")
            assert sink.wait() == 0, sink
            with start_sink(tmp_path, port=port, journal=after) as again:
                said = result(sender)
                assert said["in order"]
                line = the_line(said["peers"], "sent", "numbers")
                assert line["balanced"]
                assert line["acked"] == 200_000
                assert journal(before) + journal(after) == list(range(200_000)), "each once, and in order"
                assert len(journal(before)) > 5000
                ledger(port)
                assert again.stop() == 0, again
        assert not [line for line in sink.stderr if "do not balance" in line]


RESTART = """\
import asyncio, json, sys
import mesh

async def main(uri):
    async with mesh.connect(uri, patience=60.0) as peer:
        try:
            await peer.stream(range(20000), channel="numbers", delivery="at-most-once")
        except (mesh.OutcomeUnknownError, mesh.PeerDownError) as exc:
            said = {"error": type(exc).__name__, "peer": exc.peer, "acks": len(exc.acks)}
            print("told", flush=True)
        again = await peer.stream(["x", "y"], channel="same", delivery="at-most-once")
        print(json.dumps({**said, "again": again, "peers": peer.ledger()}))

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.usefixtures("each_loop")
def test_at_most_once_across_a_restart_is_told_by_name(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    before, after = tmp_path / "before", tmp_path / "after"
    with start_sink(tmp_path, port=port, journal=before, more={"kill_at": 3000}) as sink:
        serving_port(sink)
        with script(tmp_path, RESTART, f"ws://localhost:{port}") as sender:
            assert sink.wait() == -signal.SIGKILL
            with start_sink(tmp_path, port=port, journal=after):
                said = result(sender)
                assert said["error"] in ("OutcomeUnknownError", "PeerDownError")
                assert said["peer"] == f"localhost:{port}"
                assert said["again"] == ["x", "y"]
                assert said["acks"] <= 3000
                line = the_line(said["peers"], "sent", "numbers")
                assert line["balanced"]
                assert sum(line["failed"].values()) + line["cancelled"] > 0
                # What the first one had handled, the second never sees.
                assert not set(journal(before)) & set(journal(after))
