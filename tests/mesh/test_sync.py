"""``mesh.sync``: blocking calls on a background thread; nothing hangs, nothing is left."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import factory
import mesh
from tests.helpers.proc import DEADLINE, ROOT
from tests.helpers.sketch_bench import made

pytestmark = pytest.mark.integration


class Served(factory.FactoryLoop):
    def setup(self) -> None:
        self.begun = threading.Semaphore(0)
        self.over = threading.Semaphore(0)

    @factory.reactive
    async def loop(self, channel: str, msg: str) -> str:
        if msg == "bad":
            raise ValueError("is bad")
        return msg

    @factory.reactive("count")
    async def count(self, channel: str, most: int) -> AsyncGenerator[int, None]:
        try:
            for number in range(most):
                yield number
            if most == 13:
                raise ValueError("unlucky")
        finally:
            self.over.release()

    @factory.reactive("slow")
    async def slow(self, channel: str, seconds: float) -> AsyncGenerator[int, None]:
        try:
            yield 0
            await asyncio.sleep(seconds)
            yield 1
        finally:
            self.over.release()

    @factory.every("5ms")
    async def tick(self) -> None:
        self.ticks = getattr(self, "ticks", 0) + 1
        await self.publish("tick", self.ticks)

    @factory.reactive("nap")
    async def nap(self, channel: str, seconds: float) -> float:
        self.begun.release()
        await asyncio.sleep(seconds)
        return seconds


@pytest.fixture
def served() -> Iterator[Served]:
    """A sketch that runs in an event loop of another thread."""
    sketch = made(Served)
    up = threading.Event()

    async def serve() -> None:
        async with sketch.running(port=0):
            up.set()
            await sketch._worker.wait_stopped()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="served")
    thread.start()
    assert up.wait(DEADLINE)
    yield sketch
    sketch.stop()
    thread.join(DEADLINE)
    assert not thread.is_alive()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    gc.collect()
    end = time.monotonic() + DEADLINE
    while left := [thread.name for thread in threading.enumerate() if thread not in before]:
        assert time.monotonic() < end, f"threads are left: {left}"
        time.sleep(0.01)


def test_stream_request_and_ask(served: Served) -> None:
    with mesh.sync.connect(served.serving) as peer:
        assert peer.node == served.serving
        assert peer.stream(["a", "b"]) == ["a", "b"]
        assert peer.stream("a") == ["a"]
        assert peer.request("x") == "x"
        assert list(peer.ask(4, "count")) == [0, 1, 2, 3]
        assert list(peer.ask("x")) == ["x"]
        assert peer.ledger()["served"]["sent"][""]["balanced"]


def test_by_name_and_by_address(served: Served) -> None:
    with mesh.sync.connect("served", grid=mesh.Grid([served.serving])) as peer:
        assert peer.request("x") == "x"
    with mesh.sync.connect(f"ws://localhost:{served.serving.port}") as peer:
        assert peer.request("x") == "x"
    with pytest.raises(mesh.UnknownNodeError):
        mesh.sync.connect("nobody", grid=mesh.Grid([served.serving]))


def test_errors_are_those_of_the_asynchronous_twin(served: Served) -> None:
    with mesh.sync.connect(served.serving) as peer:
        with pytest.raises(mesh.NackedError, match="is bad") as caught:
            peer.stream(["a", "bad", "c"])
        assert caught.value.acks == ["a"]
        (ack, error) = peer.stream(["a", "bad"], on_nack="yield")
        assert ack == "a"
        assert isinstance(error, mesh.NackedError)
        with pytest.raises(mesh.NackedError):
            peer.request("bad")
        with pytest.raises(mesh.AckTimeoutError):
            peer.request(2.0, "nap", timeout=0.05)
        with pytest.raises(ValueError, match="timeout"):
            peer.request(0.3, "nap", timeout=-1)
        parts: list[int] = []
        with pytest.raises(mesh.NackedError, match="unlucky"):
            parts.extend(peer.ask(13, "count"))
        iteration = peer.ask(13, "count")
        assert [next(iteration) for _ in range(13)] == list(range(13))
        with pytest.raises(mesh.NackedError, match="unlucky"):
            next(iteration)
        assert list(iteration) == []


def test_an_absent_node() -> None:
    with mesh.sync.connect("ws://localhost:1", patience=0.1) as peer, pytest.raises(mesh.PeerDownError):
        peer.stream("x")


def test_a_generator_runs_in_the_callers_thread_and_may_block(served: Served) -> None:
    where: set[threading.Thread] = set()
    closed = []

    def source(pause: float) -> Iterator[str]:
        try:
            for number in range(200):
                where.add(threading.current_thread())
                time.sleep(pause if number % 50 == 0 else 0)
                yield str(number)
        finally:
            closed.append(threading.current_thread())

    with mesh.sync.connect(served.serving) as peer:
        assert peer.stream(source(0.05)) == [str(number) for number in range(200)]
        assert peer.stream(str(number) for number in range(1000)) == [str(number) for number in range(1000)]
        with pytest.raises(mesh.NackedError):
            peer.stream(source(0.0), "count")
    assert where == {threading.current_thread()}
    assert closed == [threading.current_thread()] * 2


def test_what_a_generator_raises_comes_after_its_items(served: Served) -> None:
    def source() -> Iterator[str]:
        yield "a"
        raise LookupError("no more")

    with mesh.sync.connect(served.serving) as peer:
        with pytest.raises(LookupError, match="no more"):
            peer.stream(source())
        assert peer.ledger()["served"]["sent"][""]["acked"] == 1


def test_asynchronous_sources_run_on_the_loop(served: Served) -> None:
    async def source() -> AsyncGenerator[str, None]:
        yield "a"
        await asyncio.sleep(0.01)
        yield "b"

    with mesh.sync.connect(served.serving) as peer:
        assert peer.stream(source()) == ["a", "b"]


def test_break_and_close_end_the_generator(served: Served) -> None:
    with mesh.sync.connect(served.serving) as peer:
        for part in peer.ask(10**9, "count"):
            if part == 100:
                break
        assert served.over.acquire(timeout=DEADLINE)
        with peer.ask(10**9, "count") as parts:
            assert next(parts) == 0
        assert served.over.acquire(blocking=False), "the end of the block waits for it"
        assert list(parts) == []
        parts = peer.ask(10**9, "count")
        next(parts)
        parts.close()
        parts.close()
        assert served.over.acquire(blocking=False)


def test_an_ask_keeps_its_connection(served: Served) -> None:
    numbers = mesh.sync.connect(served.serving).ask(200, "count")
    gc.collect()
    assert list(numbers) == list(range(200))


def test_a_timeout_for_each_part(served: Served) -> None:
    with mesh.sync.connect(served.serving) as peer:
        assert peer.request("x") == "x"  # the link is up
        parts = peer.ask(60.0, "slow", timeout=1.0)
        assert next(parts) == 0
        with pytest.raises(TimeoutError, match=r"nothing came from served within 1 s"):
            next(parts)
        assert served.over.acquire(blocking=False)
        assert list(parts) == []


def test_within_a_running_event_loop_as_in_a_notebook(served: Served) -> None:
    async def cell() -> list[Any]:
        with mesh.sync.connect(served.serving) as peer:
            return [peer.request("x"), *peer.ask(3, "count"), *peer.stream(iter("ab"))]

    assert asyncio.run(cell()) == ["x", 0, 1, 2, "a", "b"]


def test_many_threads_at_once(served: Served) -> None:
    with mesh.sync.connect(served.serving) as peer, ThreadPoolExecutor(8) as pool:

        def work(number: int) -> bool:
            well = peer.request(f"{number}", f"channel {number}") == f"{number}"
            well = well and list(peer.ask(20, "count")) == list(range(20))
            return well and peer.stream(str(n) for n in range(9)) == [str(n) for n in range(9)]

        assert all(pool.map(work, range(40)))


def test_a_closed_connection_says_so(served: Served) -> None:
    peer = mesh.sync.connect(served.serving)
    parts = peer.ask(10**9, "count")
    next(parts)
    peer.close()
    peer.close()
    with pytest.raises(RuntimeError, match="is closed"):
        peer.request("x")
    with pytest.raises(RuntimeError, match="is closed"):
        next(parts)
    parts.close()


def test_closing_ends_the_calls_of_other_threads(served: Served) -> None:
    peer = mesh.sync.connect(served.serving)
    errors: list[Exception] = []

    def wait() -> None:
        try:
            peer.request(60.0, "nap", timeout=None)
        except Exception as exc:
            errors.append(exc)

    thread = threading.Thread(target=wait)
    thread.start()
    assert served.begun.acquire(timeout=DEADLINE)
    peer.close()
    thread.join(DEADLINE / 2)
    assert not thread.is_alive()
    assert len(errors) == 1
    assert isinstance(errors[0], RuntimeError | mesh.DeliveryError)


def test_a_call_from_its_own_thread_is_refused(served: Served) -> None:
    with mesh.sync.connect(served.serving) as peer:

        async def within() -> AsyncGenerator[str, None]:
            yield peer.request("would wait for ever")

        with pytest.raises(RuntimeError, match="would wait for itself"):
            peer.stream(within())


def test_subscribe_and_publish(served: Served) -> None:
    with mesh.sync.connect(served.serving) as peer:
        ticks = []
        for tick in peer.subscribe("tick", limit=10):
            ticks.append(tick)
            if len(ticks) == 5:
                break
        assert ticks == list(range(ticks[0], ticks[0] + 5))
        with peer.subscribe("tick", policy="latest", timeout=DEADLINE) as latest:
            assert next(latest) > ticks[-1]
        silence = peer.subscribe("nobody publishes this", timeout=0.1)
        with pytest.raises(TimeoutError, match="nothing came from served"):
            next(silence)
        with pytest.raises(ValueError, match="policy"):
            next(peer.subscribe("tick", policy="never"))
        assert peer.publish("mine", 1) == 0


def test_gather(served: Served) -> None:
    answers = mesh.sync.gather([served.serving, "ws://localhost:1"], "x", deadline=2.0)
    assert dict(answers) == {"served": "x"}
    assert answers.missing == ("localhost:1",)
    with pytest.raises(mesh.GridError):
        mesh.sync.gather([], "x")


SCRIPT = """\
import mesh, sys, threading
peer = mesh.sync.connect(sys.argv[1])
print(peer.request("x"), flush=True)
if sys.argv[2] == "interrupt":
    try:
        peer.request(60.0, "nap", timeout=None)
    except KeyboardInterrupt:
        print("interrupted", peer.request("y"), flush=True)
    try:
        for part in peer.ask(60.0, "slow"):
            print(part, flush=True)
    except KeyboardInterrupt:
        print("again", flush=True)
    def endless():
        import time
        print("endless", flush=True)
        while True:
            time.sleep(0.01)
            yield "z"
    try:
        peer.stream(endless())
    except KeyboardInterrupt:
        print("and again", flush=True)
"""


def _script(served: Served, *words: str) -> subprocess.Popen[str]:
    uri = f"ws://localhost:{served.serving.port}"
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT, uri, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_program_that_ends_without_a_word_leaves_in_good_order(served: Served) -> None:
    with _script(served, "end") as process:
        out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out, err) == (0, "x\n", "")
    # It said goodbye: nothing of it is kept.
    end = time.monotonic() + DEADLINE
    while any(link.is_attached for link in served._worker.hub._links.values()):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_ctrl_c_ends_the_call_and_not_the_connection(served: Served) -> None:
    with _script(served, "interrupt") as process:
        assert process.stdout is not None
        # Each time once the call is certainly under way.
        assert process.stdout.readline() == "x\n"
        assert served.begun.acquire(timeout=DEADLINE)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted y\n"
        assert process.stdout.readline() == "0\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "again\n"
        assert process.stdout.readline() == "endless\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out, err) == (0, "and again\n", "")
    assert served.over.acquire(timeout=DEADLINE), "the generator was closed"
