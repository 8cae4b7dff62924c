"""Signals, in processes of their own: one asks, the second forces, and nothing hangs."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection

from factory import signals as signals_module
from factory.signals import GRACE, StopSignals
from tests.helpers.clients import client, serving_port
from tests.helpers.proc import DEADLINE, ROOT, SCALE, Proc

LIMIT = 5.0 * SCALE
"""Seconds after which supervisors kill."""

SKETCH = """
import asyncio, signal, sys, threading, time
# A test may be run in the background of a shell, where SIGINT is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
import factory, mesh

class Busy(factory.FactoryLoop):
    @factory.reactive("slow")
    async def slow(self, channel, msg):
        self.out("in hand")
        # Still in hand when the signals have come, on a slow machine too.
        await asyncio.sleep(1.5)
        self.out("done")
        return "acked"

    @factory.reactive("wait")
    async def wait(self, channel, msg):
        self.out("in hand")
        await asyncio.sleep(3600)

    @factory.reactive("sleep")
    async def sleep(self, channel, msg):
        self.out("in hand")
        time.sleep(3600)

    @factory.reactive("spin")
    async def spin(self, channel, msg):
        self.out("in hand")
        while True:
            pass

    @factory.reactive("thread")
    def thread(self, channel, msg):
        self.out("in hand")
        threading.Event().wait()

    @factory.reactive("deaf")
    async def deaf(self, channel, msg):
        self.out("in hand")
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

    @factory.reactive("stop-deaf")
    async def stop_deaf(self, channel, msg):
        self.stop()
        await self.deaf(channel, msg)

    @factory.reactive("default-thread")
    async def default_thread(self, channel, msg):
        self.out("in hand")
        await asyncio.to_thread(threading.Event().wait)

    @factory.on_stop
    def end(self):
        self.out("stop hook")

sketch = Busy.as_node(mesh.Node("busy"), mesh.Grid())
"""
RUN = "sketch.run(port=0)\nprint('behind run()', flush=True)\n"


def program(tmp_path: Path, more: str = RUN) -> list[str]:
    path = tmp_path / "busy.py"
    path.write_text(SKETCH + textwrap.dedent(more))
    return [sys.executable, str(path)]


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Proc]:
    with Proc(*program(tmp_path), env={"PYTHONPATH": str(ROOT)}) as proc:
        yield proc


@contextmanager
def in_hand(proc: Proc, channel: str) -> Iterator[ClientConnection]:
    """Give a handler a message, and go on when it has it in hand."""
    with client(serving_port(proc), channel) as connection:
        connection.send("x")
        proc.wait_for("in hand")
        yield connection


@pytest.mark.source("B38")
@pytest.mark.parametrize(("number", "says"), [(signal.SIGINT, 1), (signal.SIGTERM, 0), (signal.SIGHUP, 0)])
def test_an_idle_worker_ends_with_0(busy: Proc, number: signal.Signals, says: int) -> None:
    serving_port(busy)
    assert busy.stop(number) == 0
    assert busy.count(r"^\[ busy \] Keyboard interruption, aborting\.$") == says
    assert busy.stdout[-2:] == ["[ busy ] stop hook", "behind run()"]
    assert busy.stderr == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_message_in_hand_is_finished_and_acknowledged(busy: Proc, number: signal.Signals) -> None:
    with in_hand(busy, "slow") as websocket:
        busy.send_signal(number)
        assert websocket.recv(DEADLINE) == "acked"
        assert busy.wait() == 0, "by force it would be 1"
    assert busy.count("stop hook") == 1


@pytest.mark.parametrize("channel", ["sleep", "spin", "thread", "deaf", "wait", "default-thread"])
def test_a_second_ctrl_c_ends_it_at_once_with_130(busy: Proc, channel: str) -> None:
    with in_hand(busy, channel):
        # Two signals of a kind that are pending at once are one, so the first has to be taken.
        _signal_and_wait(busy, signal.SIGINT)
        assert busy.stop(signal.SIGINT) == 130, "when its time is over it would be 1"


def _threads(proc: Proc) -> int:
    status = Path(f"/proc/{proc.pid}/status").read_text()
    return int(status.partition("Threads:")[2].split()[0])


def _signal_and_wait(proc: Proc, number: signal.Signals) -> None:
    """Signal a process and wait until its handler has run, which starts a thread for the forced end."""
    before = _threads(proc)
    proc.send_signal(number)
    end = time.monotonic() + DEADLINE
    while _threads(proc) <= before:
        assert time.monotonic() < end, "the signal was never taken"


def test_ctrl_c_after_sigterm_ends_it_at_once(busy: Proc) -> None:
    with in_hand(busy, "thread"):
        _signal_and_wait(busy, signal.SIGTERM)
        assert busy.stop(signal.SIGINT) == 130


def test_a_second_sigterm_changes_nothing(busy: Proc) -> None:
    with in_hand(busy, "slow") as websocket:
        _signal_and_wait(busy, signal.SIGTERM)
        busy.send_signal(signal.SIGTERM)
        assert websocket.recv(DEADLINE) == "acked"
        assert busy.wait() == 0


# How each is asked to end; "stop-deaf" asks for it itself.
FORCED = ["sleep", "spin", "deaf", "default-thread", "thread", "stop-deaf"]


@pytest.fixture(scope="module")
def forced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Proc, int, float]]]:
    """Workers with a handler that does not end; all at once, for each takes its 5 seconds.

    Gives the process, its exit code and the seconds from the request to the end.
    """
    command = program(tmp_path_factory.mktemp("forced"))
    begun: dict[str, float] = {}
    with ExitStack() as stack:
        procs = {channel: Proc(*command, env={"PYTHONPATH": str(ROOT)}) for channel in FORCED}
        for proc in procs.values():
            stack.enter_context(proc)
        clients = stack.enter_context(ExitStack())
        for channel, proc in procs.items():
            clients.enter_context(in_hand(proc, channel))
        for channel, proc in procs.items():
            begun[channel] = time.monotonic()
            if channel != "stop-deaf":
                proc.send_signal(signal.SIGTERM)
        ends = {}
        for channel, proc in procs.items():
            code = proc.wait()
            ends[channel] = (proc, code, max(line.at for line in proc.lines) - begun[channel])
        yield ends


@pytest.mark.parametrize("channel", ["sleep", "spin", "deaf", "default-thread", "stop-deaf"])
def test_what_does_not_end_in_time_is_named_and_ended_by_force(
    forced: dict[str, tuple[Proc, int, float]], channel: str
) -> None:
    proc, code, took = forced[channel]
    assert code == 1
    assert 3 < took < 2 * LIMIT
    name = r"nothing in hand" if channel == "default-thread" else rf"handler {channel.replace('-', '_')}\(\)"
    assert proc.count(rf"error: did not stop in time \({name}\); ends by force") == 1 or proc.count(
        rf"^did not stop in time \({name}\); ends by force"
    )
    assert proc.count("behind run") == 0


def test_a_thread_that_is_stuck_does_not_hold_up_the_end(
    forced: dict[str, tuple[Proc, int, float]],
) -> None:
    proc, code, took = forced["thread"]
    assert code == 1
    assert took < 2 * LIMIT
    assert proc.count(r"gave up after 3 s on handler thread\(\)") == 1
    assert proc.count("a handler's thread still runs and cannot be ended") == 1
    assert proc.count("stop hook") == 1


def test_ctrl_c_before_it_serves(tmp_path: Path) -> None:
    early = """
        class Early(factory.FactoryLoop):
            async def setup(self):
                self.out("setting up")
                await asyncio.Event().wait()
            @factory.reactive
            async def loop(self, channel, msg): ...
        Early.as_node(mesh.Node("early"), mesh.Grid()).run(port=0)
    """
    with Proc(*program(tmp_path, early), env={"PYTHONPATH": str(ROOT)}) as proc:
        proc.wait_for("setting up")
        assert proc.stop(signal.SIGINT) == 0
        assert proc.stdout == ["[ early ] setting up", "[ early ] Keyboard interruption, aborting."]
        assert proc.stderr == []


def test_a_screen_that_nobody_reads_does_not_prevent_the_end(tmp_path: Path) -> None:
    flood = """
        class Flood(factory.FactoryLoop):
            @factory.every(0.001)
            async def flood(self):
                while True:
                    self.out("x" * 1000)
        print("begins", file=sys.stderr, flush=True)
        Flood.as_node(mesh.Node("flood"), mesh.Grid()).run()
    """
    reader, writer = os.pipe()
    with subprocess.Popen(
        program(tmp_path, flood),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=writer,
        stderr=writer,
        stdin=subprocess.DEVNULL,
    ) as process:
        os.close(writer)
        try:
            assert os.read(reader, 6) == b"begins"
            _wait_until_full(reader)
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 1
        finally:
            process.kill()
            os.close(reader)


def _wait_until_full(reader: int) -> None:
    """Wait until a pipe holds all that it can, which is when its writer is blocked."""
    import array
    import fcntl
    import termios

    held = array.array("i", [0])
    before = -1
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        fcntl.ioctl(reader, termios.FIONREAD, held)
        if held[0] > 32_000 and held[0] == before:
            return
        before = held[0]
        select.select([], [], [], 0.1)
    raise AssertionError("the pipe never filled")


def test_ctrl_c_at_a_terminal(tmp_path: Path) -> None:
    """The terminal sends the signal, to the whole process group."""
    parent, child = pty.openpty()
    with subprocess.Popen(
        program(tmp_path),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
        preexec_fn=lambda: _own(0),
    ) as process:
        os.close(child)
        try:
            seen = _read_until(parent, b"serving on")
            os.write(parent, b"\x03")
            seen += _read_until(parent, b"behind run()")
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()
            os.close(parent)
    assert b"Keyboard interruption, aborting." in seen


def _own(descriptor: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


def _read_until(descriptor: int, text: bytes) -> bytes:
    seen = b""
    end = time.monotonic() + DEADLINE
    while text not in seen:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"nothing more came; so far: {seen!r}"
        seen += os.read(descriptor, 4096)
    return seen


# -- in this process ----------------------------------------------------------------------------------


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    codes: list[int] = []
    monkeypatch.setattr(signals_module, "leave_now", codes.append)
    return codes


def test_the_request_is_made_once_with_whether_it_was_ctrl_c(left: list[int]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asked: list[bool] = []
        with StopSignals(asked.append, lambda: None):
            signal.raise_signal(number)
            signal.raise_signal(signal.SIGTERM)
            assert asked == [number == signal.SIGINT]
            assert left == []
            signal.raise_signal(signal.SIGINT)
            assert left == [130]
        left.clear()


def test_the_handlers_of_before_are_put_back() -> None:
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    before = [signal.getsignal(number) for number in numbers]
    with StopSignals(lambda _: None, lambda: None):
        assert [signal.getsignal(number) for number in numbers] != before
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals(lambda _: None, lambda: None):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_it_does_nothing(left: list[int]) -> None:
    before = signal.getsignal(signal.SIGINT)

    def run() -> None:
        with StopSignals(lambda _: None, lambda: None, grace=0.0) as signals:
            assert signal.getsignal(signal.SIGINT) is before
            signals.arm()
            assert signals._timer is None

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(DEADLINE)
    assert left == []


def test_the_end_by_force_comes_after_the_last_words_whatever_becomes_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signals_module, "LAST_WORDS", 0.01)
    ended = threading.Event()
    order: list[str] = []

    def leave(code: int) -> None:
        order.append(f"leave {code}")
        ended.set()

    monkeypatch.setattr(signals_module, "leave_now", leave)
    release = threading.Event()
    for words in (lambda: order.append("words"), lambda: release.wait(DEADLINE)):
        ended.clear()
        with StopSignals(lambda _: None, lambda words=words: words() and None, grace=0.0) as signals:  # type: ignore[misc]
            signals.arm()
            signals.arm()
            assert ended.wait(DEADLINE)
    release.set()
    assert order == ["words", "leave 1", "leave 1"]


def test_an_output_that_cannot_be_flushed_does_not_prevent_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    release = threading.Event()

    class Stuck:
        def flush(self) -> None:
            release.wait(DEADLINE)

    class Gone:
        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(os, "_exit", codes.append)
    begin = time.monotonic()
    for stream in (Stuck(), Gone(), None):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", stream)
            signals_module.leave_now(130)
    assert codes == [130, 130, 130]
    assert time.monotonic() - begin < DEADLINE / 2
    release.set()


def test_who_ends_in_time_is_not_forced(left: list[int]) -> None:
    with StopSignals(lambda _: None, lambda: None, grace=0.0) as signals:
        forced = signals._force
        signals._timer = None
    # The timer that fires a moment too late finds nobody inside.
    forced()
    assert left == []


def test_the_grace_is_shorter_than_a_supervisors() -> None:
    assert 4 < GRACE < 5
