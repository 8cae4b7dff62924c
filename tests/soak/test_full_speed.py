"""A link at full speed, whose worker is killed and started again meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import mesh
from tests.helpers.fleet import write_grid
from tests.helpers.link_fleet import rss, the_line
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, Proc, arduino
from tests.soak.limits import SOAK

pytestmark = SOAK

MIB = 2**20
LIFE = (0.3, 1.0)
"""Seconds that the worker lives at least and at most; in a long soak ten times as long at most."""

ECHO = """\
import factory


class Echo(factory.FactoryLoop):
    @factory.reactive
    async def loop(self, channel, msg):
        return msg
"""


@pytest.mark.parametrize("delivery", ["at-least-once", "at-most-once"])
async def test_every_item_is_answered_or_failed_by_name(
    delivery: str, tmp_path: Path, soak_seconds: float
) -> None:
    (port,) = free_ports(1)
    (tmp_path / "echo.py").write_text(ECHO, encoding="utf-8")
    grid = write_grid(tmp_path, f"nodes: {{echo: {{sketch: 'echo.py:Echo', port: {port}}}}}\n")
    begin = time.monotonic()
    end = begin + soak_seconds / 2  # there are two of these
    acked = sent = kills = 0
    failed: dict[str, int] = {}
    memory: list[int] = []  # ours, after each so many acks
    growth: list[int] = []  # the worker's, in each of its lives
    chance = random.Random(7)

    with ExitStack() as stack:

        def start() -> tuple[ExitStack, Proc]:
            own = stack.enter_context(ExitStack())
            words = (f"{tmp_path}/echo.py:Echo", "--name", "echo")
            return own, own.enter_context(arduino(*words, env={"MESH_GRID": str(grid)}))

        worker, proc = start()
        await asyncio.to_thread(proc.wait_for, "serving on")

        async def killer() -> None:
            nonlocal worker, proc, kills
            while time.monotonic() < end or not kills:
                await asyncio.sleep(LIFE[0])
                held = rss(proc.pid)
                most = LIFE[1] * (10 if soak_seconds > 30 else 1)
                await asyncio.sleep(chance.uniform(0, most - LIFE[0]))
                growth.append(rss(proc.pid) - held)
                proc.send_signal(signal.SIGKILL)
                await asyncio.to_thread(worker.close)
                worker, proc = start()
                kills += 1
                await asyncio.to_thread(proc.wait_for, "serving on")

        def numbers() -> Iterator[str]:
            nonlocal sent
            # On until the worker has been killed at least once, however short the soak.
            while not killing.done():
                sent += 1
                yield str(sent - 1)

        async with mesh.connect("echo", grid=str(grid), patience=DEADLINE) as peer:
            killing = asyncio.create_task(killer())
            try:
                while not killing.done():
                    first = sent
                    expected = first
                    try:
                        async for ack in peer.stream(numbers(), delivery=delivery):
                            # In order, none left out, and none twice.
                            assert ack == str(expected)
                            expected += 1
                            acked += 1
                            if acked % 100_000 == 0:
                                memory.append(rss(os.getpid()))
                    except mesh.DeliveryError as exc:
                        failed[type(exc).__name__] = failed.get(type(exc).__name__, 0) + 1
                await killing
            finally:
                killing.cancel()
            line = the_line(peer.ledger(), "sent", "")
        worker.close()

    print(
        f"worker grew by {max(growth) / MIB:.1f} MiB at most, we are at {[one // MIB for one in memory[-3:]]}"
    )
    print(f"{sent} given, {line['sent']} sent in {time.monotonic() - begin:.1f} s")
    print(f"{delivery}: {acked} acked, {line['failed']} failed, {line['cancelled']} cancelled, {kills} kills")
    assert line["balanced"]
    assert line["in_flight"] == 0
    # Whatever the source gave has its place in the books.
    assert line["sent"] == sent
    assert sent == line["acked"] + sum(line["failed"].values()) + line["cancelled"]
    assert line["acked"] >= acked > 0
    assert line["refused"] == 0
    if delivery == "at-least-once":
        # Nothing is ever given up while the worker comes back in time.
        assert (failed, line["failed"], line["cancelled"]) == ({}, {}, 0)
        assert line["acked"] == acked == sent
    else:
        # What was on its way when the worker died is named, not sent again.
        assert set(failed) <= {"OutcomeUnknownError", "PeerDownError"}
    assert max(growth) < 24 * MIB, growth
    # The first quarter warms up; after it nothing may pile up.
    steady = memory[len(memory) // 4 :]
    if len(memory) >= 4:
        assert max(steady) - steady[0] < 16 * MIB, memory
