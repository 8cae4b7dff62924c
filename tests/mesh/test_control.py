"""The control socket: questions, their answers, and who may ask."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mesh.control import Control, questions
from mesh.errors import AckTimeoutError, NackedError, PeerDownError
from mesh.runtime import RuntimeDirectoryError

pytestmark = pytest.mark.integration


@pytest.fixture
def path() -> Iterator[Path]:
    # Not tmp_path, which is too long for a socket.
    with tempfile.TemporaryDirectory(prefix="sm-") as folder:
        yield Path(folder) / "s"


@pytest.fixture
async def ended() -> list[str]:
    return []


@pytest.fixture
async def control(path: Path, ended: list[str]) -> AsyncIterator[Control]:
    async def count(msg: int) -> AsyncIterator[int]:
        try:
            for number in range(msg):
                yield number
                await asyncio.sleep(0)
        finally:
            ended.append("count")

    async def slow(_: object) -> None:
        await asyncio.sleep(60)

    def broken(_: object) -> None:
        raise ValueError("no such thing")

    answers = {"$info": lambda msg: {"you": msg}, "$count": count, "$slow": slow, "$broken": broken}
    made = Control("blink", answers)
    await made.open(path)
    yield made
    await made.close()


async def test_a_question_gets_its_answer(control: Control, path: Path) -> None:
    async with questions("blink", path) as blink:
        assert await blink.request("$info", [1, "two"]) == {"you": [1, "two"]}


async def test_only_this_user_may_ask(control: Control, path: Path) -> None:
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600  # noqa: PTH116 - quick


async def test_an_answer_may_come_in_parts(control: Control, path: Path) -> None:
    async with questions("blink", path) as blink:
        assert [part async for part in blink.ask("$count", 200)] == list(range(200))
        assert [part async for part in blink.ask("$info", 1)] == [{"you": 1}]


async def test_who_stops_listening_ends_the_parts(control: Control, path: Path, ended: list[str]) -> None:
    async with questions("blink", path) as blink, blink.ask("$count", 10**9) as parts:
        async for part in parts:
            if part == 3:
                break
    assert ended == ["count"]


async def test_what_is_not_known_or_fails_is_refused(control: Control, path: Path) -> None:
    async with questions("blink", path) as blink:
        with pytest.raises(NackedError, match=r"answers nothing on '\$inof', did you mean '\$info'\?"):
            await blink.request("$inof")
        with pytest.raises(NackedError, match="no such thing"):
            await blink.request("$broken")
        with pytest.raises(NackedError, match="answers in parts"):
            await blink.request("$count", 3)


async def test_a_process_that_does_not_answer_in_time_is_told_from_one_that_is_not_there(
    control: Control, path: Path
) -> None:
    async with questions("blink", path) as blink:
        assert await blink.request("$info", 1) == {"you": 1}  # the connection is up
        with pytest.raises(AckTimeoutError):
            await blink.request("$slow", timeout=0.1)
    async with questions("gone", path.with_name("none")) as gone:
        with pytest.raises(PeerDownError, match="gone could not be reached"):
            await gone.request("$info", timeout=0.1)


async def test_the_end_of_the_process_ends_its_parts(path: Path) -> None:
    async def forever(_: object) -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(60)

    control = Control("blink", {"$forever": forever})
    await control.open(path)
    async with questions("blink", path) as blink:
        parts = blink.ask("$forever")
        assert await anext(parts) == 1
        await control.close()
        with pytest.raises((NackedError, PeerDownError)):
            await anext(parts)


async def test_a_path_that_is_too_long_is_refused(path: Path) -> None:
    with pytest.raises(RuntimeDirectoryError, match="too long"):
        await Control("blink", {}).open(path.parent / ("x" * 120))
