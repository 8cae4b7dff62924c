"""The watchdog: a blocked loop is found and its handler named; a free one is left in peace."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from types import CodeType
from typing import Any

import pytest

import factory
from factory import watchdog as watchdog_module
from factory.watchdog import Watchdog
from tests.helpers.proc import DEADLINE
from tests.helpers.sketch import tell
from tests.helpers.sketch_bench import logged, made

PATIENCE = 0.05


class Reports(list[str]):
    """Reports of a watchdog; the blocked loop itself waits for them.

    Attributes:
        is_blocked: Whether a test blocks the loop, so that the watchdog is to notice.

    """

    def __init__(self) -> None:
        super().__init__()
        self.is_blocked = False
        self.news = threading.Semaphore(0)

    def __call__(self, sentence: str) -> None:
        self.append(sentence)
        self.news.release()

    def block_until_one_more(self) -> None:
        """Block this thread, which is the loop's, until the watchdog has noticed."""
        self.is_blocked = True
        assert self.news.acquire(timeout=DEADLINE), "nobody noticed"


class Beats(threading.Event):
    """The beat of a loop, missed only while a test blocks the loop: a slow machine is not accused.

    Attributes:
        seen: How often the watchdog has noticed a beat.

    """

    def __init__(self, reports: Reports) -> None:
        super().__init__()
        self.reports = reports
        self.seen = 0

    def wait(self, timeout: float | None = None) -> bool:
        while not super().wait(timeout):
            if self.reports.is_blocked:
                return False
        self.seen += 1
        return True

    async def until_seen(self, more: int) -> None:
        """Wait until the watchdog has noticed so many more beats."""
        wanted = self.seen + more
        async with asyncio.timeout(DEADLINE):
            while self.seen < wanted:  # noqa: ASYNC110 - another thread notices
                await asyncio.sleep(0.001)


def watched(reports: Reports, *functions: Callable[..., object]) -> tuple[Watchdog, Beats]:
    names: dict[CodeType, str] = {f.__code__: f"handler {f.__name__}()" for f in functions}
    dog = Watchdog(reports, names, patience=PATIENCE)
    dog._beaten = beats = Beats(reports)
    return dog, beats


async def test_what_blocks_is_named_with_file_and_line() -> None:
    reports = Reports()

    async def greedy() -> None:
        reports.block_until_one_more()

    dog, _ = watched(reports, greedy)
    dog.start()
    await greedy()
    dog.stop()
    line = inspect.getsourcelines(greedy)[1] + 1
    assert len(reports) == 1
    assert reports[0].startswith(
        f"handler greedy() has blocked the event loop for 0.05 s, at {__file__}:{line};"
    )
    assert "asyncio.sleep, not time.sleep" in reports[0]
    assert "self.to_thread" in reports[0]


async def test_what_has_no_name_is_told_by_its_line() -> None:
    reports = Reports()
    dog, _ = watched(reports)
    dog.start()
    reports.block_until_one_more()
    dog.stop()
    assert reports[0].startswith("the event loop has been blocked for 0.05 s, at ")
    assert "threading.py:" in reports[0]


async def test_each_time_it_blocks_is_told_once() -> None:
    reports = Reports()
    dog, beats = watched(reports)
    dog.start()
    for count in (1, 2, 3):
        reports.block_until_one_more()
        # Still blocked, for several times the patience: that is no news.
        threading.Event().wait(PATIENCE * 4)
        assert len(reports) == count
        # Free again: the dog has to see it, and then it watches anew.
        reports.is_blocked = False
        await beats.until_seen(3)
    dog.stop()
    assert len(reports) == 3


async def test_a_loop_that_is_free_is_left_in_peace() -> None:
    reports = Reports()
    dog, beats = watched(reports)
    dog.start()
    await beats.until_seen(10)
    dog.stop()
    assert reports == []


async def test_a_stopped_dog_says_nothing_and_its_thread_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    class Kept(threading.Thread):
        def start(self) -> None:
            threads.append(self)
            super().start()

    monkeypatch.setattr(threading, "Thread", Kept)
    reports = Reports()
    for _ in range(20):
        dog, _ = watched(reports)
        dog.start()
        dog.stop()
    # The loop blocks while the threads end: no dog may take notice any more.
    reports.is_blocked = True
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert reports == []


def test_stop_between_the_question_and_the_clear_is_not_lost() -> None:
    """The race: the thread has asked whether it is over, stop() comes, then it clears the beat."""
    reports = Reports()
    dog = Watchdog(reports, {}, patience=PATIENCE)
    cleared = threading.Event()

    class Beaten(threading.Event):
        def clear(self) -> None:
            dog._ended.set()
            self.set()
            super().clear()
            cleared.set()

    dog._beaten = Beaten()
    thread = threading.Thread(target=dog._watch, daemon=True)
    dog._thread_id = threading.get_ident()
    thread.start()
    assert cleared.wait(DEADLINE)
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert reports == []


def test_a_process_that_was_stopped_and_goes_on_is_not_accused() -> None:
    """When the patience is over at once, as after Ctrl-Z, the loop has a moment to beat."""
    reports = Reports()
    dog = Watchdog(reports, {}, patience=PATIENCE)
    dog._thread_id = threading.get_ident()
    waits: list[float | None] = []

    class Beaten(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            if len(waits) == 1:
                return False  # the clock ran on while nobody could
            dog._ended.set()
            return True

    dog._beaten = Beaten()
    dog._watch()
    assert len(waits) == 2
    assert reports == []


# -- in a worker ---------------------------------------------------------------------------------


class Greedy(factory.FactoryLoop):
    def setup(self, blocks: Callable[[], object]) -> None:
        self.blocks = blocks

    @factory.reactive
    async def loop(self, channel: str, msg: str) -> str:
        self.blocks()
        return "at last"


async def test_a_worker_names_its_blocking_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    init, reports = Watchdog.__init__, Reports()

    def patient(dog: Watchdog, *arguments: Any, **options: Any) -> None:
        init(dog, *arguments, **options | {"patience": PATIENCE})
        dog._beaten = Beats(reports)

    def block() -> None:
        reports.is_blocked = True
        log.wait_for("has blocked the event loop")
        reports.is_blocked = False

    monkeypatch.setattr(Watchdog, "__init__", patient)
    with logged() as log:
        sketch = made(Greedy, blocks=block)
        async with sketch.running(port=0):
            assert await tell(sketch.serving, ["x"]) == ["at last"]
    (line,) = log.having("has blocked the event loop")
    assert line.startswith("warning: handler loop() has blocked")
    assert "test_watchdog.py" in line


def test_the_patience_of_a_worker_is_a_second() -> None:
    assert Watchdog(print, {})._patience == watchdog_module.PATIENCE == 1.0
