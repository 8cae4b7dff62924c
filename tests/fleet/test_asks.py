"""Asks between real processes that are killed, stopped and restarted in the midst of an answer."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.clients import serving_port
from tests.helpers.fleet import write_grid
from tests.helpers.link_fleet import RawLink, ledger, result, script
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, Proc, arduino

pytestmark = pytest.mark.fleet

ARCHIVE = """\
import asyncio
import factory

class Archive(factory.FactoryLoop):
    @factory.reactive("ticks")
    async def ticks(self, channel, msg):
        number = 0
        self.out(f"begin {msg}")
        try:
            while True:
                yield number
                number += 1
                await asyncio.sleep(0.005)
        finally:
            self.out(f"finally {msg}")

    @factory.reactive("rush")
    async def rush(self, channel, msg):
        try:
            for number in range(int(msg)):
                yield number
        finally:
            self.out(f"finally rush after {number}")
"""

ASKER = """\
import factory

class Asker(factory.FactoryLoop):
    @factory.on_start
    async def begin(self):
        self.run_number = 0

    @factory.every("50ms")
    async def go_on(self):
        self.run_number += 1
        self.out(f"asking {self.run_number}")
        count = 0
        async for part in self.ask("archive", "of the asker", "ticks"):
            count += 1
            if count == 20:
                self.out("twenty")
"""

SCRIPT = """\
import asyncio, json, sys
import mesh

async def main(uri, patience):
    async with mesh.connect(uri, patience=patience) as peer:
        parts = []
        error = None
        try:
            async for part in peer.ask("of the script", "ticks"):
                parts.append(part)
                if len(parts) == 20:
                    print("twenty", flush=True)
        except mesh.DeliveryError as exc:
            error = [type(exc).__name__, getattr(exc, "type", ""), str(exc)]
        well = parts == list(range(len(parts)))
        print(json.dumps({"well": well, "count": len(parts), "error": error, "peers": peer.ledger()}))

asyncio.run(main(sys.argv[1], float(sys.argv[2])))
"""


def archive(folder: Path, port: int = 0) -> Proc:
    (folder / "archive.py").write_text(ARCHIVE, encoding="utf-8")
    return arduino("archive.py", "--port", str(port), cwd=folder)


def asker(folder: Path, port: int) -> Proc:
    (folder / "asker.py").write_text(ASKER, encoding="utf-8")
    grid = write_grid(
        folder,
        f"nodes:\n  archive: {{port: {port}}}\n  asker: {{sketch: 'asker.py:Asker', target: archive}}\n",
    )
    return arduino("asker.py", "--grid", grid, cwd=folder)


def test_sigterm_in_the_midst_runs_finally_and_tells_the_asker(tmp_path: Path) -> None:
    with archive(tmp_path) as worker:
        uri = f"ws://localhost:{serving_port(worker)}"
        with script(tmp_path, SCRIPT, uri, 10) as client:
            client.wait_for("^twenty$")
            assert worker.stop(signal.SIGTERM) == 0, worker
            assert "[ archive ] finally of the script" in worker.stdout
            said = result(client)
    assert said["well"]
    assert said["error"][:2] == ["NackedError", "WorkerStoppingError"]
    assert all(
        line["balanced"] for peer in said["peers"].values() for way in peer.values() for line in way.values()
    )


def test_an_archive_that_is_killed_and_restarted_fails_the_ask_once(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with archive(tmp_path, port) as worker:
        serving_port(worker)
        with script(tmp_path, SCRIPT, f"ws://localhost:{port}", DEADLINE) as client:
            client.wait_for("^twenty$")
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            with archive(tmp_path, port) as again:
                said = result(client)
                assert not any("begin" in line for line in again.stdout), "no ask is begun twice"
    assert said["well"]
    assert said["count"] >= 20
    assert said["error"][0] == "OutcomeUnknownError"


def test_an_archive_that_is_killed_for_good_fails_the_ask_after_the_patience(tmp_path: Path) -> None:
    with archive(tmp_path) as worker:
        uri = f"ws://localhost:{serving_port(worker)}"
        with script(tmp_path, SCRIPT, uri, 3.0) as client:
            client.wait_for("^twenty$")
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            said = result(client)
    assert said["well"]
    assert said["error"][0] == "PeerDownError"


def test_an_asker_that_is_killed_and_restarted_closes_its_former_generator(
    tmp_path: Path,
) -> None:
    with archive(tmp_path) as worker:
        port = serving_port(worker)
        with asker(tmp_path, port) as client:
            client.wait_for("twenty$")
            client.send_signal(signal.SIGKILL)
            client.wait()
        assert worker.count("finally") == 0, "it may come back"
        mark = worker.mark
        with asker(tmp_path, port) as client:
            worker.wait_for("finally of the asker$", since=mark)
            client.wait_for("twenty$")
            assert worker.count("begin of the asker$") == 2
            assert worker.count("finally of the asker$") == 1
            mark = worker.mark
            assert client.stop(signal.SIGTERM) == 0
            worker.wait_for("finally of the asker$", since=mark)
        books = ledger(port)
        assert "$part" in json.dumps(books)
        assert worker.stop(signal.SIGTERM) == 0


def test_ctrl_c_in_the_midst_of_asking(tmp_path: Path) -> None:
    with archive(tmp_path) as worker, asker(tmp_path, serving_port(worker)) as client:
        client.wait_for("twenty$")
        assert client.stop(signal.SIGINT) == 0, client
        worker.wait_for("finally of the asker$")
        assert worker.stop(signal.SIGINT) == 0, worker


def test_a_stranger_asks_by_the_wire_alone(tmp_path: Path) -> None:
    """What ``docs/explanation/patterns.md`` says, byte by byte, as a client in another language does it."""
    with archive(tmp_path) as worker, RawLink(serving_port(worker)) as link:
        link.hello()
        link.send([3, "$ask", 1, 1, [{"id": "7", "channel": "rush", "msg": "1000", "more": "ignored"}]])
        parts: list[Any] = []
        answers: list[Any] = []

        def heard() -> list[Any]:
            # Without SETTLED, which comes with a heartbeat.
            while not (records := [record for record in link.next_records() if record[0] != 6]):
                pass
            return records

        def take(count: int) -> None:
            while len(parts) < count:
                for kind, channel, first, *rest in heard():
                    if kind == 3:
                        assert (channel, first) == ("$part/7", len(parts) + 1)
                        parts.extend(rest[1])
                    elif kind == 4:
                        answers.append([channel, first, *rest])

        take(64)
        assert answers == [["$ask", 1, [None]]]
        time.sleep(0.3)
        link.send([3, "nobody", 1, 1, ["?"]])
        assert heard()[0][0] == 5, "no further part came before this answer"
        assert parts == [[0, number] for number in range(64)]
        link.send([4, "$part/7", 1, [None] * 10])
        take(74)
        link.send([3, "$cancel", 1, 1, [{"id": "7"}]])
        while not any(record[:2] == [4, "$cancel"] for record in heard()):
            pass
        worker.wait_for("finally rush after 7[3-9]$")
        # What is on its way is refused by who has cancelled; and that is all there is to it.
        link.send([5, "$part/7", 11, 64, "LookupError", "gone"])
        link.send([3, "$cancel", 2, 2, [{"id": "7"}]])
        assert heard() == [[4, "$cancel", 2, [None]]]

        link.send([3, "$ask", 2, 2, [5, {"id": 5}, {"id": "8", "channel": "none", "msg": 0}]])
        refusals: list[Any] = []
        while sum(record[3] for record in refusals) < 3:
            refusals += heard()
        assert [record[4] for record in refusals] == ["ValueError", "ValueError", "UnknownChannelError"]

        link.send([3, "$ask", 5, 5, [{"id": "9", "channel": "rush", "msg": "2"}]])
        items: list[Any] = []
        while len(items) < 3:
            items += [item for record in heard() if record[:2] == [3, "$part/9"] for item in record[4]]
        assert items[:3] == [[0, 0], [0, 1], [1]]
        ledger(serving_port(worker))
