"""Plain clients of a sketch: those that come and go, what is kept of each, and how a conversation ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import factory
import mesh
from mesh.conversation import Client
from tests.helpers.log import Log
from tests.helpers.proc import DEADLINE
from tests.helpers.sketch import tell
from tests.helpers.sketch_bench import logged, made


class Said(factory.FactoryLoop):
    """Keeps what it prints."""

    def setup(self) -> None:
        self.said: Log[str] = Log()

    def out(self, text: object) -> None:
        self.said.add(str(text))


class Counting(Said):
    """Counts for each client, and says itself who comes and goes."""

    @factory.reactive
    async def loop(self, channel: str, msg: Any) -> Any:
        assert self.client is not None
        state = self.client.state
        state.count = getattr(state, "count", 0) + 1
        return f"{state.count} from {self.client.id}"

    def on_client(self, client: Client, state: str, reason: str) -> bool:
        count = getattr(client.state, "count", 0)
        self.out(f"{state} after {count}: {reason}")
        return True


@pytest.mark.source("D4")
async def test_d04_what_is_kept_of_a_client_is_its_own() -> None:
    async with made(Counting).running(port=0) as sketch:
        async with sketch.serving.connection() as one, sketch.serving.connection() as other:
            answers = []
            for websocket in (one, other, one):
                await websocket.send("x")
                answers.append(str(await websocket.recv()))
        first, second, third = (answer.split(" from ") for answer in answers)
        assert [first[0], second[0], third[0]] == ["1", "1", "2"]
        assert first[1] == third[1] != second[1]
        await sketch.said.until(5)
    ups = [line for line in sketch.said if line.startswith("up after 0: connected from ")]
    downs = sorted(line.split(":")[0] for line in sketch.said if line.startswith("down"))
    assert len(ups) == 2
    assert downs == ["down after 1", "down after 2"]
    assert not any("new client" in line or "done processing" in line for line in sketch.said)


@pytest.mark.parametrize("kind", ["silent", "async", "raises"])
async def test_the_usual_lines_are_printed_unless_the_hook_says_that_it_did(kind: str) -> None:
    told: Log[str] = Log()

    class Hooked(Said):
        @factory.reactive
        async def loop(self, channel: str, msg: Any) -> Any:
            return msg

        def on_client(self, client: Client, state: str, reason: str) -> Any:
            if kind == "raises":
                raise RuntimeError("no")
            if kind == "async":
                return self.later(state)
            told.add(state)
            return None

        async def later(self, state: str) -> bool:
            told.add(state)
            return True

    with logged() as log:
        async with made(Hooked).running(port=0) as sketch:
            await tell(sketch.serving, ["x"], "pin")
            await sketch.said.until(3)
    came, went = sketch.said[1:]
    assert came == "** new client connected, path=/pin"
    assert re.fullmatch(
        r"done processing messages: client closed the connection \(1000\), after \d+\.\d s", went
    )
    assert len(log.having("on_client() failed: RuntimeError: no")) == (2 if kind == "raises" else 0)
    assert list(told) == ([] if kind == "raises" else ["up", "down"])


class Asking(factory.FactoryLoop):
    """Says whether it knows a client, wherever it is asked."""

    def known(self) -> bool:
        return self.client is not None

    @factory.reactive("async")
    async def here(self, channel: str, msg: Any) -> Any:
        return self.known()

    @factory.reactive("thread")
    def there(self, channel: str, msg: Any) -> Any:
        return self.known()

    @factory.reactive("task")
    async def elsewhere(self, channel: str, msg: Any) -> Any:
        async def ask() -> bool:
            return self.known()

        return await asyncio.create_task(ask())


@pytest.mark.parametrize(
    ("channel", "plain", "linked"),
    [("async", "true", False), ("thread", "true", False), ("task", "false", False)],
)
async def test_the_client_is_known_where_its_message_is_handled(
    channel: str, plain: str, linked: bool
) -> None:
    async with made(Asking).running(port=0) as sketch:
        assert sketch.client is None
        assert await tell(sketch.serving, ["x"], channel) == [plain]
        async with mesh.connect(sketch.serving) as peer:
            assert await peer.request("x", channel) == linked


class Host(factory.FactoryLoop):
    """Ends a conversation, in one way or another."""

    @factory.reactive
    async def loop(self, channel: str, msg: str) -> Any:
        if msg == "bye":
            raise factory.Close("see you", "said bye")
        if msg == ".":
            raise factory.Close
        if msg == "again":
            raise factory.Nack(retry_in=0.001)
        return msg


async def until_closed(sketch: factory.FactoryLoop, *messages: str) -> tuple[list[str], int, str]:
    """Send messages on one plain connection; return the answers, and how it was closed."""
    answers: list[str] = []
    async with asyncio.timeout(DEADLINE), sketch.serving.connection() as websocket:
        for message in messages:
            await websocket.send(message)
        async for answer in websocket:
            answers.append(str(answer))  # noqa: PERF401
    assert websocket.close_code is not None
    return answers, websocket.close_code, websocket.close_reason or ""


async def test_close_ends_the_conversation_with_a_last_answer_or_without() -> None:
    async with made(Host).running(port=0) as sketch:
        assert await until_closed(sketch, "hi", "bye") == (["hi", "see you"], 1000, "said bye")
        assert await until_closed(sketch, "hi", ".") == (["hi"], 1000, "")
        books = sketch._worker.books()
    assert sketch._worker.balanced
    assert "'handled': 4" in str(books)


async def test_a_reason_too_long_for_a_closing_frame_is_cut() -> None:
    class Wordy(factory.FactoryLoop):
        @factory.reactive
        async def loop(self, channel: str, msg: str) -> Any:
            raise factory.Close("", "ü" * 200)

    async with made(Wordy).running(port=0) as sketch:
        assert await until_closed(sketch, "hi") == ([""], 1000, "ü" * 61)


async def test_close_only_acknowledges_on_a_link() -> None:
    async with made(Host).running(port=0) as sketch, mesh.connect(sketch.serving) as peer:
        assert await peer.stream(["hi", "bye", ".", "still here"]) == ["hi", "see you", None, "still here"]


# -- errors ----------------------------------------------------------------------------------


class Fragile(factory.FactoryLoop):
    """Breaks when it is told to."""

    @factory.reactive
    async def loop(self, channel: str, msg: str) -> Any:
        if msg == "break":
            raise ValueError("broken")
        if msg == "refuse":
            raise factory.Reject("no")
        return msg


def fragile(policy: str) -> Fragile:
    """Make one whose class has a policy."""
    kind: type[Fragile] = type("Fragile", (Fragile,), {"on_error": policy})
    return made(kind)


REFUSAL = '{"error":{"type":"ValueError","message":"broken"}}'


@contextmanager
def balanced(sketch: factory.FactoryLoop) -> Iterator[None]:
    yield
    assert sketch._worker.balanced, sketch._worker.books()


@pytest.mark.source("D7")
@pytest.mark.parametrize(
    ("policy", "answers"),
    [
        ("nack", ["a", REFUSAL, '{"error":{"type":"Reject","message":"no"}}', "b"]),
        ("ignore", ["a", "n/a", '{"error":{"type":"Reject","message":"no"}}', "b"]),
    ],
)
async def test_d07_an_error_of_a_handler_is_refused_or_ignored_and_the_client_stays(
    policy: str, answers: list[str]
) -> None:
    sketch = fragile(policy)
    with logged() as log, balanced(sketch):
        async with sketch.running(port=0):
            assert await tell(sketch.serving, ["a", "break", "refuse", "b"]) == answers
    (line,) = log.having("ValueError: broken")
    assert ("counts as handled" in line) == (policy == "ignore")


@pytest.mark.source("D7")
async def test_d07_an_error_of_a_handler_ends_the_conversation_where_asked_and_never_the_worker() -> None:
    sketch = fragile("close")
    with logged(), balanced(sketch):
        async with sketch.running(port=0):
            answers, code, reason = await until_closed(sketch, "a", "refuse", "break", "b")
            assert answers == ["a", '{"error":{"type":"Reject","message":"no"}}', REFUSAL]
            assert (code, reason) == (1000, "ValueError: broken")
            assert await tell(sketch.serving, ["still here"]) == ["still here"]


@pytest.mark.source("D7")
@pytest.mark.parametrize("policy", ["nack", "close", "ignore"])
async def test_d07_a_link_goes_on_whatever_the_policy(policy: str) -> None:
    sketch = fragile(policy)
    with logged(), balanced(sketch):
        async with sketch.running(port=0), mesh.connect(sketch.serving) as peer:
            answers = await peer.stream(["a", "break", "b"], on_nack="yield")
            assert [answers[0], answers[2]] == ["a", "b"]
            if policy == "ignore":
                assert answers[1] is None
            else:
                assert isinstance(answers[1], mesh.NackedError)
                assert answers[1].reason == "broken"


async def test_the_grid_has_the_last_word_on_the_policy() -> None:
    node = mesh.Node("fragile", on_error="ignore")
    sketch = type("Fragile", (Fragile,), {"on_error": "close"}).as_node(node, mesh.Grid([node]))  # type: ignore[attr-defined]
    assert sketch.on_error == "ignore"


def test_a_policy_that_there_is_not_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(factory.SketchError, match=r"on_error is 'retry'; write nack, close or ignore"):
        type("Odd", (Fragile,), {"on_error": "retry"})
