"""``subscribe()`` and ``ask()`` of ``mesh.js``, with a stand-in that keeps to patterns.md."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import pytest

from mesh.protocol.link import LinkSettings
from mesh.protocol.link.ledger import line_of
from tests.conftest import RequireTool
from tests.helpers.js import StandIn, find_node, node, said, standing_in
from tests.helpers.ports import free_ports

pytestmark = pytest.mark.fleet


class Publisher(StandIn):
    """Publishes and streams replies as a worker will."""

    def __init__(self, settings: LinkSettings | None = None) -> None:
        super().__init__(settings)
        self.forget()

    def forget(self) -> None:
        """Start anew, as a process does."""
        self.seq: dict[str, int] = {}
        self.last: dict[str, Any] = {}
        self.subscribed: dict[str, dict[str, Any]] = {}
        self.asks: dict[str, Iterator[Any]] = {}
        self.generators: dict[str, Callable[[Any], Iterator[Any]]] = {}
        self.due: list[tuple[str, Any]] = []
        self.done: list[str] = []

    def handle(self, channel: str, item: Any) -> Any:
        if channel == "$subscribe":
            if item["channel"] == "secret":
                raise PermissionError("not for you")
            name = item["channel"]
            self.subscribed[name] = item
            latched = item["latch"] and name in self.last
            if latched:
                self.due.append((f"$pub/{name}", [self.seq[name], self.last[name]]))
            return {"next": self.seq.get(name, 0) + 1, "latched": latched}
        if channel == "$unsubscribe":
            self.subscribed.pop(item["channel"], None)
            return None
        if channel == "$ask":
            if item["channel"] not in self.generators:
                raise LookupError(f"no {item['channel']}")
            self.asks[item["id"]] = self.generators[item["channel"]](item["msg"])
            return None
        if channel == "$cancel":
            generator = self.asks.pop(item["id"], None)
            if generator is not None:
                generator.close()  # type: ignore[attr-defined]
                self.due.append((f"$part/{item['id']}", [1]))
            return None
        return item

    async def publish(self, channel: str, *values: Any) -> None:
        """Publish to the client, if it has subscribed."""
        for value in values:
            self.seq[channel] = self.seq.get(channel, 0) + 1
            self.last[channel] = value
            if channel in self.subscribed:
                await self.send(f"$pub/{channel}", [self.seq[channel], value])

    def waiting(self, channel: str) -> int:
        """Return how many messages the client has not answered; of the parts of all asks together."""
        line: dict[str, Any] = self.link.books()["sent"].get(line_of(channel), {"in_flight": 0})
        return int(line["in_flight"])

    async def run(self) -> None:
        """Send what is due; a part of an answer only while fewer than 64 wait."""
        while True:
            while self.due:
                channel, item = self.due.pop(0)
                await self.send(channel, item)
            for key, generator in list(self.asks.items()):
                channel = f"$part/{key}"
                if any(isinstance(answer, tuple) for answer in self.answers.get(channel, [])):
                    generator.close()  # type: ignore[attr-defined]
                    del self.asks[key]
                    continue
                while key in self.asks and self.waiting(channel) < 64:
                    try:
                        item = [0, next(generator)]
                    except StopIteration:
                        item = [1]
                    except Exception as exc:
                        item = [2, type(exc).__name__, str(exc)]
                    if item[0]:
                        del self.asks[key]
                    await self.send(channel, item)
            await asyncio.sleep(0.01)


@pytest.fixture
def js(require_tool: RequireTool) -> str:
    return find_node(require_tool)


class Scene:
    """A publisher, and a script that subscribes."""

    def __init__(self, js: str, folder: Path, source: str, settings: LinkSettings | None = None) -> None:
        self.made = Publisher(settings)
        self._js, self._folder = js, folder
        self._source = f"const peer = connect(url);\n{source}\nawait peer.close();"

    async def __aenter__(self) -> Self:
        self._served = standing_in(self.made)
        url, self.server = await self._served.__aenter__()
        self.client = node(self._js, self._folder, self._source, url).__enter__()
        self._runner = asyncio.ensure_future(self.made.run())
        return self

    async def heard(self, pattern: str) -> None:
        await asyncio.to_thread(self.client.wait_for, pattern)

    async def said(self) -> list[Any]:
        result = await asyncio.to_thread(said, self.client)
        assert not self.made.errors
        return result

    async def __aexit__(self, *exc: object) -> None:
        self._runner.cancel()
        await asyncio.gather(self._runner, return_exceptions=True)
        self.client.__exit__()
        await self._served.__aexit__(None, None, None)


async def test_a_subscription_begins_ends_and_counts(tmp_path: Path, js: str) -> None:
    source = """
    for await (const { value, seq, gap } of peer.subscribe("tick", { policy: "block", limit: 5 })) {
      say([value, seq, gap]);
      if (value == "last") break;
    }
    while (peer.books().acked < 2) await sleep(0.01);
    say(peer.books());
    """
    async with Scene(js, tmp_path, source) as scene:
        made = scene.made
        await made.publish("tick", "missed")
        await made.until(lambda: made.subscribed)
        assert made.subscribed["tick"] == {"channel": "tick", "policy": "block", "limit": 5, "latch": True}
        await scene.heard("missed")
        await made.publish("tick", 1, 2, None)
        made.seq["tick"] += 3  # what a policy dropped
        await made.publish("tick", {"a": b"x".decode()}, "last")
        await made.until(lambda: not made.subscribed)
        await made.publish("tick", "unheard")
        *values, books = await scene.said()
        assert values == [
            ["missed", 1, 0], [1, 2, 0], [2, 3, 0], [None, 4, 0], [{"a": "x"}, 8, 3], ["last", 9, 0]
        ]  # fmt: skip
        assert books == {"sent": 2, "acked": 2, "refused": 0, "failed": 0, "inFlight": 0}
        assert sum(channel == "$unsubscribe" for channel, _ in made.got) == 1
        assert made.answers["$pub/tick"] == [None] * 6


async def test_a_channel_has_one_consumer_and_a_signal_ends_it(tmp_path: Path, js: str) -> None:
    source = """
    const abort = new AbortController();
    const { signal } = abort;
    const first = peer.subscribe("tick", { signal });
    say((await first.next()).value.value);
    say((await peer.subscribe("tick").next().catch((error) => error)).message);
    const waiting = first.next().catch((error) => error.name);
    abort.abort();
    say(await waiting);
    say((await first.next()).done);
    say((await peer.subscribe("tick", { signal }).next().catch((error) => error)).name);
    for await (const { value, seq, gap } of peer.subscribe("tick")) {
      say([value, seq, gap]);
      if (value == 3) break;
    }
    """
    async with Scene(js, tmp_path, source) as scene:
        made = scene.made
        await made.until(lambda: made.subscribed)
        await made.publish("tick", 1)
        await made.until(lambda: ("$unsubscribe", {"channel": "tick"}) in made.got)
        await made.publish("tick", 2)
        await scene.heard("2,")
        await made.publish("tick", 3)
        said = await scene.said()
        assert said[:5] == [1, "one consumer only", "AbortError", True, "AbortError"]
        assert said[-1] == [3, 3, 0]
        assert [2, 2, 0] in said


async def test_a_subscription_outlives_connections_sessions_and_publishers(tmp_path: Path, js: str) -> None:
    source = """
    const states = [];
    peer.onstate = (...change) => states.push(change);
    for await (const { value, seq, gap } of peer.subscribe("tick", { latch: false })) {
      say([value, seq, gap]);
      if (value == "end") break;
    }
    say(states.filter(([state]) => state == "up").map(([, reason]) => reason));
    """
    async with Scene(js, tmp_path, source) as scene:
        made = scene.made
        await made.until(lambda: made.subscribed)
        await made.publish("tick", "a")
        await scene.heard('"a"')
        made.cut()
        await made.publish("tick", "b")  # waits for the next connection of the session
        await scene.heard('"b"')
        # The same process, but the session is lost, and two values with it.
        made.subscribed.clear()
        made.links.clear()
        made.cut()
        await made.publish("tick", "lost", "lost")
        await made.until(lambda: made.subscribed)
        await made.publish("tick", "c")
        await scene.heard('"c"')
        # Another process.
        made.forget()
        made.restart()
        await made.until(lambda: made.subscribed)
        await made.publish("tick", "d", "end")
        *values, states = await scene.said()
        assert values == [["a", 1, 0], ["b", 2, 0], ["c", 5, 2], ["d", 1, -1], ["end", 2, 0]]
        assert states == ["connected", "resumed", "connected", "restarted"]


async def test_nothing_is_lost_or_doubled_while_connections_break(tmp_path: Path, js: str) -> None:
    source = """
    const values = [];
    for await (const { value, gap } of peer.subscribe("tick", { policy: "block" })) {
      values.push([value, gap]);
      if (value == 4999) break;
    }
    say(values.length);
    say(values.every(([value, gap], n) => value === n && gap === 0));
    """
    async with Scene(js, tmp_path, source) as scene:
        made = scene.made
        await made.until(lambda: made.subscribed)
        for begin in range(0, 5000, 500):
            await made.publish("tick", *range(begin, begin + 500))
            made.cut()
        assert await scene.said() == [5000, True]


async def test_coming_and_going_in_haste_ends_as_it_should(tmp_path: Path, js: str) -> None:
    source = """
    for (let n = 0; n < 50; n++) {
      const abort = new AbortController();
      peer.subscribe("tick", { signal: abort.signal }).next().catch(() => {});
      if (n % 3) await sleep(0.002 * (n % 5));
      abort.abort();
    }
    await peer.send("check", "gone");
    await typed();
    const last = peer.subscribe("tick").next().catch((error) => say(error.name));
    await peer.send("check", "there");
    """
    async with Scene(js, tmp_path, source) as scene:
        made = scene.made
        await made.until(lambda: ("check", "gone") in made.got)
        await made.until(lambda: not made.subscribed)
        before = len(made.got)
        scene.client.type("go\n")
        await made.until(lambda: ("check", "there") in made.got)
        assert "$subscribe" in [channel for channel, _ in made.got[before:]]
        assert await scene.said() == ["ClosedError"]


async def test_a_subscription_waits_for_a_publisher_that_is_not_there_yet(tmp_path: Path, js: str) -> None:
    made = Publisher()
    source = """
    const peer = connect(url, { patience: 0.5 });
    for await (const { value } of peer.subscribe("tick")) { say(value); break; }
    await peer.close();
    """
    (port,) = free_ports(1)
    with node(js, tmp_path, source, f"ws://127.0.0.1:{port}") as client:
        await asyncio.sleep(1.5)
        async with standing_in(made, port=port):
            await made.until(lambda: made.subscribed)
            await made.publish("tick", "here")
            assert await asyncio.to_thread(said, client) == ["here"]


async def test_a_subscription_is_refused_or_ended_with_an_error(tmp_path: Path, js: str) -> None:
    source = """
    const told = async (channel) => {
      try { for await (const { value } of peer.subscribe(channel)) say(value); }
      catch (error) { say([error.name, error.remoteType, error.message, error.node]); }
    };
    await told("secret");
    await told("tick");
    """
    async with Scene(js, tmp_path, source) as scene:
        made = scene.made
        await made.until(lambda: "tick" in made.subscribed)
        await made.publish("tick", 1)
        await made.send("$pub/tick", [3, None, "QueueFullError", "you read too slowly"])
        assert await scene.said() == [
            ["NackedError", "PermissionError", "not for you", "standin"],
            1,
            ["NackedError", "QueueFullError", "you read too slowly", "standin"],
        ]


async def test_who_does_not_read_holds_up_the_publisher(tmp_path: Path, js: str) -> None:
    source = """
    const slow = peer.subscribe("tick")[Symbol.asyncIterator]();
    say((await slow.next()).value.value);
    await typed();
    for (let n = 0; n < 2999; n++) await slow.next();
    say("all");
    """
    async with Scene(js, tmp_path, source, LinkSettings(window_messages=4096)) as scene:
        made = scene.made
        await made.until(lambda: made.subscribed)
        sending = asyncio.ensure_future(made.publish("tick", *range(3000)))
        await scene.heard("0")
        # The window of the client is 1024, in flight and queued.
        most = 1 + 1024 + 1
        await made.until(lambda: made.seq["tick"] >= most)
        await asyncio.sleep(0.3)
        assert not sending.done()
        assert made.seq["tick"] == most
        scene.client.type("go\n")
        await sending
        assert await scene.said() == [0, "all"]


async def test_an_answer_comes_in_parts(tmp_path: Path, js: str) -> None:
    source = """
    const all = async (channel, msg) => {
      const parts = [];
      try { for await (const part of peer.ask(channel, msg)) parts.push(part); }
      catch (error) { parts.push([error.name, error.remoteType ?? null, error.message]); }
      return parts;
    };
    say(await all("count", 200));
    say(await all("count", 0));
    say(await all("fail", 2));
    say(await all("nobody", 0));
    say((await Promise.all([all("count", 10), all("count", 20)])).map((parts) => parts.length));
    """

    def count(msg: int) -> Iterator[Any]:
        yield from range(msg)

    def fail(msg: int) -> Iterator[Any]:
        yield from range(msg)
        raise ValueError("no more")

    async with Scene(js, tmp_path, source) as scene:
        scene.made.generators = {"count": count, "fail": fail}
        assert await scene.said() == [
            list(range(200)),
            [],
            [0, 1, ["NackedError", "ValueError", "no more"]],
            [["NackedError", "LookupError", "no nobody"]],
            [10, 20],
        ]


async def test_breaking_out_reaches_the_generator_and_who_waits_is_bounded(tmp_path: Path, js: str) -> None:
    source = """
    for await (const part of peer.ask("endless", "x")) { say(part); if (part == 3) break; }
    const slow = peer.ask("endless", "y")[Symbol.asyncIterator]();
    say((await slow.next()).value);
    await typed();
    await slow.return();
    while (peer.books().acked < 4) await sleep(0.01);
    say(peer.books());
    """
    ended: list[str] = []
    made_parts = 0

    def endless(msg: str) -> Iterator[int]:
        nonlocal made_parts
        try:
            for part in range(10**9):
                made_parts = part
                yield part
        finally:
            ended.append(msg)

    async with Scene(js, tmp_path, source) as scene:
        made = scene.made
        made.generators = {"endless": endless}
        await made.until(lambda: ended == ["x"])
        await scene.heard("^0$")
        await asyncio.sleep(0.5)
        assert made_parts <= 64 + 16
        scene.client.type("go\n")
        await made.until(lambda: ended == ["x", "y"])
        *parts, books = await scene.said()
        assert parts == [0, 1, 2, 3, 0]
        assert books == {"sent": 4, "acked": 4, "refused": 0, "failed": 0, "inFlight": 0}
        assert sum(channel == "$cancel" for channel, _ in made.got) == 2
        assert not made.asks


async def test_an_answer_in_parts_does_not_survive_its_session(tmp_path: Path, js: str) -> None:
    source = """
    try { for await (const part of peer.ask("stuck", 0)) say(part); }
    catch (error) { say(error.name); }
    """

    def stuck(msg: int) -> Iterator[int]:
        yield from range(100)

    async with Scene(js, tmp_path, source) as scene:
        made = scene.made
        made.generators = {"stuck": stuck}
        await made.until(lambda: any(channel == "$ask" for channel, _ in made.got))
        made.asks.clear()
        await asyncio.sleep(0.1)
        made.cut()
        await asyncio.sleep(0.3)
        made.asks.clear()
        made.restart()
        assert (await scene.said())[-1] == "OutcomeUnknownError"


async def test_an_answer_in_parts_ends_when_its_peer_is_gone_for_good(tmp_path: Path, js: str) -> None:
    made = Publisher()
    made.generators = {"endless": lambda msg: iter(range(10**9))}
    source = """
    const peer = connect(url, { patience: 2 });
    const values = peer.subscribe("tick");
    const next = values.next();
    const parts = peer.ask("endless", 0);
    say((await parts.next()).value);
    try { for await (const part of parts); }
    catch (error) { say(error.name); }
    say((await next).value.value);
    await peer.close();
    """
    async with AsyncExitStack() as there:
        (port,) = free_ports(1)
        url, server = await there.enter_async_context(standing_in(made, port=port))
        client = there.enter_context(node(js, tmp_path, source, url))
        runner = asyncio.ensure_future(made.run())
        await asyncio.to_thread(client.wait_for, "^0$")
        await made.until(lambda: made.subscribed)
        runner.cancel()
        server.close()
        made.cut()
        await asyncio.to_thread(client.wait_for, "PeerDownError")
        made.forget()
        made.restart()
        # The subscription waits on, and is restored.
        async with standing_in(made, port=port):
            await made.until(lambda: made.subscribed)
            await made.publish("tick", "after")
            *_, name, value = await asyncio.to_thread(said, client)
        assert (name, value) == ("PeerDownError", "after")


async def test_a_part_that_nobody_waits_for_is_refused(tmp_path: Path, js: str) -> None:
    source = """await peer.send("n", 1); await typed();"""
    async with Scene(js, tmp_path, source) as scene:
        made = scene.made
        await made.until(lambda: made.got)
        await made.send("$part/77", [0, 1], [0, 2])
        await made.send("$pub/x", [1, 1])
        await made.send("anything", "x")
        await made.until(lambda: len(made.answers) == 3)
        assert {name for answers in made.answers.values() for name, _ in answers} == {"LookupError"}
        scene.client.type("go\n")
        await scene.said()
