"""``mesh.js`` in Node, on links to real workers."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mesh.protocol.link import LinkSettings
from tests.conftest import RequireTool
from tests.helpers.clients import serving_port
from tests.helpers.js import MODULE, StandIn, find_node, node, said, standing_in
from tests.helpers.link_fleet import journal, ledger, start_sink, the_line
from tests.helpers.ports import free_ports
from tests.helpers.proc import Proc

TYPES = MODULE.with_suffix(".d.ts")
pytestmark = pytest.mark.fleet


@pytest.fixture
def js(require_tool: RequireTool) -> str:
    return find_node(require_tool)


def uri(sink: Proc) -> str:
    return f"ws://localhost:{serving_port(sink)}"


def test_the_module_is_small_and_needs_nothing() -> None:
    source = MODULE.read_bytes()
    assert len(source) < 10_000
    assert b"import" not in source


def test_the_types_fit_the_module(tmp_path: Path, js: str, require_tool: RequireTool) -> None:
    declared = set(
        re.findall(r"^export (?:class|function) (\w+)", TYPES.read_text(encoding="utf-8"), re.MULTILINE)
    )
    source = f"const module = await import({json.dumps(MODULE.as_uri())}); say(Object.keys(module));"
    source += "const peer = connect('ws://localhost:1'); say(Object.keys(peer)); await peer.close();"
    with node(js, tmp_path, source) as client:
        exported, members = said(client)
    assert set(exported) == declared
    body = re.search(r"interface Peer {(.*?)^}", TYPES.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert body is not None
    assert set(members) == set(re.findall(r"^  (?:readonly )?(\w+)", body[1], re.MULTILINE))
    tsc = require_tool("tsc", package="node-typescript")
    (tmp_path / "user.mts").write_text(TYPED.replace("MODULE", str(MODULE)), encoding="utf-8")
    flags = "--strict --noEmit --target es2022 --module nodenext --moduleResolution nodenext --lib es2022,dom"
    done = subprocess.run(
        [tsc, *flags.split(), "user.mts"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


TYPED = """
import { connect, MeshError, type Peer } from "MODULE";
const peer: Peer = connect("ws://localhost:8766", { patience: 1 });
peer.onstate = (state, reason) => console.log(state.length + reason.length);
const ack: string = await peer.send<string>("on", 1, { timeout: 2, signal: new AbortController().signal });
const { signal } = new AbortController();
const feed = peer.subscribe<number>("tick", { policy: "latest", signal });
for await (const { value, seq, gap } of feed) value + seq + gap;
await feed.return();
for await (const part of peer.ask<string>("count", 3)) part.length;
const error: unknown = null;
if (error instanceof MeshError && error.name == "NackedError") console.log(error.remoteType?.length);
console.log(ack, peer.books().inFlight);
// @ts-expect-error
peer.subscribe("tick", { policy: "some" });
await peer.close();
"""


ANSWERS = """
const peer = connect(url);
const states = [];
peer.onstate = (state, reason) => states.push([state, reason]);
say(await Promise.all(["none", "dict", "number"].map((name) => peer.send("values", name))));
say([...(await peer.send("values", "bytes"))]);
const values = [null, true, 1, -1.5, "text", [1, [2]], { a: { b: null } }, 2 ** 40];
say(await Promise.all(values.map((value) => peer.send("same", value))));
const refused = await peer.send("reject", "x").catch((error) => error);
say([refused.name, refused.remoteType, refused.message, refused.node, refused instanceof MeshError]);
const odd = await Promise.allSettled(Array.from({ length: 10 }, (_, n) => peer.send("odd", n)));
say(odd.map(({ value, reason }) => value ?? reason.message));
const late = await peer.request("never", "x", { timeout: 0.2 }).catch((error) => error);
say([late.name, late.message]);
const abort = new AbortController();
setTimeout(() => abort.abort(), 50);
say((await peer.request("never", "y", { signal: abort.signal }).catch((error) => error)).name);
say((await peer.request("same", "z", { signal: abort.signal }).catch((error) => error)).name);
say(peer.books());
const begin = performance.now();
await peer.close();
say(performance.now() - begin);
say((await peer.send("same", 1).catch((error) => error)).name);
say([peer.state, peer.node, states]);
"""


def test_answers_refusals_deadlines_and_books(tmp_path: Path, js: str) -> None:
    with start_sink(tmp_path) as sink, node(js, tmp_path, ANSWERS, uri(sink)) as client:
        types, raw, same, refused, odd, late, aborted, before, books, took, closed, state = said(client)
        assert types == [None, {"a": [1, None]}, 7]
        assert raw == list(b"x")
        # An untyped handler takes text; the types on the wire are for others to keep.
        assert same == ["null", "true", "1", "-1.5", "text", "[1,[2]]", '{"a":{"b":null}}', str(2**40)]
        assert refused == ["NackedError", "Reject", "never x, try 1", "sink", True]
        assert odd == [n if n % 2 else f"{n} is even" for n in range(10)]
        assert late == ["AckTimeoutError", "no answer within 0.2 s"]
        assert (aborted, before) == ("AbortError", "AbortError")
        assert books == {"sent": 25, "acked": 17, "refused": 6, "failed": 2, "inFlight": 0}
        assert took < 5000, "nobody waits for the answers to what was given up"
        assert closed == "ClosedError"
        assert state == ["closed", "sink", [["up", "connected"], ["closed", "closed"]]]
        theirs = the_line(ledger(serving_port(sink))["peers"], "received", "odd")
        assert (theirs["handled"], theirs["refused"]) == (5, 5)


MANY = """
const peer = connect(url);
await peer.send("same", 0);
const begin = performance.now();
const acks = await Promise.all(Array.from({ length: 20000 }, (_, n) => peer.send("numbers", `${n} x`)));
say([acks.length, acks.every((ack, n) => ack === n), performance.now() - begin]);
const large = new Uint8Array(3_000_000).fill(7);
const back = await Promise.all([1, 2, 3].map(() => peer.send("same", large)));
say(back.map((one) => [one.length, one.every((byte) => byte === 7)]));
say((await peer.send("same", new Uint8Array(2 ** 24)).catch((error) => error)).name);
say((await Promise.all(Array.from({ length: 300 }, (_, n) => peer.send(`values`, "dict")))).length);
await peer.close();
"""


def test_many_keep_their_order_and_large_ones_fit_the_window(tmp_path: Path, js: str) -> None:
    handled = tmp_path / "handled"
    with start_sink(tmp_path, journal=handled) as sink, node(js, tmp_path, MANY, uri(sink)) as client:
        many, large, too_large, values = said(client)
        assert many[:2] == [20_000, True]
        print(f"\n20,000 acks in {many[2]:.0f} ms")
        assert journal(handled) == list(range(20_000))
        assert large == [[3_000_000, True]] * 3
        assert too_large == "PayloadError"
        assert values == 300


async def test_values_keep_their_types(tmp_path: Path, js: str) -> None:
    source = """
    const peer = connect(url);
    const bytes = new Uint8Array([1, 2]);
    const values = [null, true, 1, -1.5, "text", [1, [2]], { a: { b: null } }, 2 ** 40, bytes];
    const back = await Promise.all(values.map((value) => peer.send("same", value)));
    say([...back.pop()]);
    say(back);
    say(typeof (await peer.send("same", 2n ** 60n)));
    say(await peer.send("same", undefined));
    await peer.close();
    """
    made = StandIn()
    async with standing_in(made) as (url, _):
        with node(js, tmp_path, source, url) as client:
            raw, back, big, undefined = await in_thread(client)
    sent = [None, True, 1, -1.5, "text", [1, [2]], {"a": {"b": None}}, 2**40, b"\1\2", 2**60, None]
    assert [item for _, item in made.got] == sent
    assert (raw, back, big, undefined) == ([1, 2], sent[:8], "bigint", None)


async def test_what_is_sent_in_one_turn_is_one_frame(tmp_path: Path, js: str) -> None:
    source = """
    const peer = connect(url);
    await peer.send("a", 0);
    await Promise.all([...Array(100).keys()].map((n) => peer.send(n % 2 ? "b" : "c", n)));
    await peer.close();
    """
    made = StandIn()
    async with standing_in(made) as (url, _):
        with node(js, tmp_path, source, url) as client:
            await made.until(lambda: len(made.got) == 101)
            assert (await in_thread(client)) == []
            assert [item for channel, item in made.got if channel == "b"] == list(range(1, 100, 2))
            (frames,) = made.frames
            assert sum(len(frame) > 50 for frame in frames) == 1, [len(frame) for frame in frames]
            assert not made.errors


async def in_thread(client: Proc) -> list[Any]:
    return await asyncio.to_thread(said, client)


async def test_the_window_is_kept(tmp_path: Path, js: str) -> None:
    source = """
    const peer = connect(url);
    const all = Array.from({ length: 100 }, (_, n) => peer.send("hold", "x".repeat(100)));
    say(await Promise.all(all).then((acks) => acks.length));
    await peer.close();
    """
    made = StandIn(LinkSettings(window_messages=16, window_bytes=1024))
    most = 0

    def handle(channel: str, item: object) -> object:
        nonlocal most
        most = max(most, len(made.held) + 1)
        return StandIn.HOLD

    made.handle = handle  # type: ignore[method-assign]
    async with standing_in(made) as (url, _):
        with node(js, tmp_path, source, url) as client:
            while len(made.got) < 100:
                await made.until(lambda: made.held)
                await made.release()
            assert await in_thread(client) == [100]
            assert most == 10, "1024 bytes hold ten of 102"
            assert not made.errors


RESTARTED = """
const peer = connect(url);
const states = [];
peer.onstate = (...change) => states.push(change);
await peer.send("numbers", "0");
const acks = await Promise.all(Array.from({ length: 4000 }, (_, n) => peer.send("numbers", String(n + 1))));
say(acks.every((ack, n) => ack === n + 1));
say(states);
say(peer.books());
await peer.close();
"""


def test_a_worker_killed_and_restarted_under_it(tmp_path: Path, js: str) -> None:
    (port,) = free_ports(1)
    before, after = tmp_path / "before", tmp_path / "after"
    with start_sink(tmp_path, port=port, journal=before, more={"kill_at": 2500}) as sink:
        serving_port(sink)
        with node(js, tmp_path, RESTARTED, f"ws://localhost:{port}") as client:
            assert sink.wait() == -signal.SIGKILL
            with start_sink(tmp_path, port=port, journal=after):
                in_order, states, books = said(client)
    assert in_order
    assert [state for state, _ in states][:2] == ["up", "down"]
    assert states[-1] == ["up", "restarted"]
    assert books == {"sent": 4001, "acked": 4001, "refused": 0, "failed": 0, "inFlight": 0}
    assert journal(before) == list(range(2500))
    # At least once: what the first one had handled without an answer, the second handles again.
    again = journal(after)
    assert again == list(range(again[0], 4001))
    assert again[0] <= 2500


def test_a_worker_that_stops_leaves_its_messages_to_the_next(tmp_path: Path, js: str) -> None:
    (port,) = free_ports(1)
    before, after = tmp_path / "before", tmp_path / "after"
    with start_sink(tmp_path, port=port, journal=before, more={"tell_at": 300}) as sink:
        serving_port(sink)
        source = RESTARTED.replace("4000", "30000")
        with node(js, tmp_path, source, f"ws://localhost:{port}") as client:
            sink.wait_for("at 300$")
            assert sink.stop(signal.SIGTERM) == 0, sink
            with start_sink(tmp_path, port=port, journal=after):
                in_order, states, _ = said(client)
    assert in_order
    assert states[-1] == ["up", "restarted"]
    assert journal(before) + journal(after) == list(range(30_001)), "each once, and in order"


async def test_a_lost_connection_is_resumed_without_duplicates(tmp_path: Path, js: str) -> None:
    source = """
    const peer = connect(url);
    const states = [];
    peer.onstate = (...change) => states.push(change);
    const acks = [];
    for (let n = 0; n < 60; n++) {
      const turn = Array.from({ length: 50 }, (_, k) => peer.send("n", 50 * n + k));
      if (n % 10 == 5) peer.send("cut", null);
      acks.push(...(await Promise.all(turn)));
    }
    say(acks.every((ack, n) => ack === n));
    say(states);
    say(peer.books());
    await peer.close();
    """
    made = StandIn()

    def handle(channel: str, item: object) -> object:
        if channel == "cut":
            made.cut()
        return item

    made.handle = handle  # type: ignore[method-assign]
    async with standing_in(made) as (url, _):
        with node(js, tmp_path, source, url) as client:
            in_order, states, books = await in_thread(client)
            assert in_order
            assert [item for channel, item in made.got if channel == "n"] == list(range(3000)), "each once"
            assert [reason for state, reason in states if state == "up"] == ["connected"] + ["resumed"] * 6
            assert books["acked"] == 3000 + 6
            assert not made.errors
            line = made.link.books()["received"]["n"]
            assert line["handled"] == 3000
            print("\nduplicates:", line["duplicates"])


async def test_what_was_given_up_is_skipped_after_a_resume(tmp_path: Path, js: str) -> None:
    source = """
    const peer = connect(url);
    await peer.send("up", 0);
    const abort = new AbortController();
    const given = [1, 2].map((n) => peer.send("n", n, { signal: abort.signal }).catch((error) => error.name));
    const kept = peer.send("n", 3);
    await sleep(0.2);
    abort.abort();
    say("given up");
    await peer.send("cut", 0);
    say(await Promise.all([...given, kept]));
    say(peer.books());
    await peer.close();
    """
    made = StandIn()

    def handle(channel: str, item: object) -> object:
        if channel == "up":
            made.deaf = True
        return item

    made.handle = handle  # type: ignore[method-assign]
    async with standing_in(made) as (url, _):
        with node(js, tmp_path, source, url) as client:
            await made.until(lambda: made.deaf)
            await made.pump()
            await asyncio.to_thread(client.wait_for, "given up")
            made.cut()
            made.deaf = False
            _, names, books = await in_thread(client)
            assert names == ["AbortError", "AbortError", 3]
            assert books == {"sent": 5, "acked": 3, "refused": 0, "failed": 2, "inFlight": 0}
            assert [item for channel, item in made.got if channel == "n"] == [3]
            assert not made.errors


async def test_an_end_of_the_session_is_told(tmp_path: Path, js: str) -> None:
    source = """
    const peer = connect(url, { patience: 3 });
    const lost = new Promise((wake) => { peer.onstate = (state) => state == "down" && wake(); });
    const held = peer.send("hold", 1).catch((error) => error.name);
    await lost;
    say(await Promise.all([held, peer.send("n", 2)]));
    while (peer.state == "up") await sleep(0.01);
    say((await peer.send("n", 3).catch((error) => error)).name);
    say(peer.state);
    await peer.close();
    """
    made = StandIn()

    def handle(channel: str, item: object) -> object:
        return StandIn.HOLD if channel == "hold" else item

    made.handle = handle  # type: ignore[method-assign]
    async with standing_in(made) as (url, server):
        with node(js, tmp_path, source, url) as client:
            await made.until(lambda: made.held)
            made.links.clear()  # the session is forgotten, by the same incarnation
            made.cut()
            await made.until(lambda: ("n", 2) in made.got)
            server.close()
            told, down, state = await in_thread(client)
            assert told == ["OutcomeUnknownError", 2]
            assert down == "PeerDownError"
            assert state == "down"


async def test_silence_is_noticed(tmp_path: Path, js: str) -> None:
    source = """
    const peer = connect(url);
    peer.onstate = (...change) => say(change);
    await peer.send("n", 1);
    await peer.send("n", 2);
    await peer.close();
    """
    made = StandIn(LinkSettings(heartbeat=0.2, timeout=2.0))

    def handle(channel: str, item: object) -> object:
        made.deaf = made.deaf or item == 1
        return item

    made.handle = handle  # type: ignore[method-assign]
    async with standing_in(made) as (url, _):
        with node(js, tmp_path, source, url) as client:
            await asyncio.to_thread(client.wait_for, "fell silent")
            made.deaf = False
            changes = await in_thread(client)
            assert [state for state, _ in changes] == ["up", "down", "up", "closed"]
            assert ["up", "resumed"] in changes


def test_an_idle_link_stays_up(tmp_path: Path, js: str) -> None:
    source = """
    const peer = connect(url);
    peer.onstate = (...change) => say(change);
    await peer.send("same", 1);
    await sleep(4);
    say(await peer.send("same", 2));
    await peer.close();
    """
    with start_sink(tmp_path) as sink, node(js, tmp_path, source, uri(sink)) as client:
        assert said(client) == [["up", "connected"], "2", ["closed", "closed"]]


def test_a_tab_that_nobody_looks_at_stays_up_though_its_timers_hardly_run(tmp_path: Path, js: str) -> None:
    source = """
    const real = globalThis.setTimeout;
    globalThis.setTimeout = (call, delay) => real(call, Math.max(delay, 60_000));
    const peer = connect(url);
    peer.onstate = (...change) => say(change);
    await peer.send("same", 1);
    await new Promise((wake) => real(wake, 4000));
    say(await peer.send("same", 2));
    await peer.close();
    """
    with start_sink(tmp_path) as sink, node(js, tmp_path, source, uri(sink)) as client:
        assert said(client) == [["up", "connected"], "2", ["closed", "closed"]]


def test_it_takes_the_websocket_of_the_package_ws(tmp_path: Path, js: str) -> None:
    if not Path("/usr/share/nodejs/ws").exists():
        pytest.skip("needs ws, which is not installed; to run this test: apt-get install node-ws")
    source = """
    import { createRequire } from "node:module";
    const WebSocket = createRequire(import.meta.url)("/usr/share/nodejs/ws");
    const peer = connect(url, { WebSocket, name: "by-ws" });
    say(await peer.send("same", "x"));
    await peer.close();
    const nobody = connect("ws://localhost:1", { WebSocket, patience: 0.3 });
    say((await nobody.send("same", "x").catch((error) => error)).name);
    await nobody.close();
    """
    with start_sink(tmp_path) as sink, node(js, tmp_path, source, uri(sink)) as client:
        assert said(client) == ["x", "PeerDownError"]
        assert "by-ws" in ledger(serving_port(sink))["peers"]


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "c1",
        "90ff",
        "9191",
        "919200a0",
        "91950300a1610101",
        "9195036101c0",
        "919304a16101",
        "919404a1610191c0",
    ],
)
async def test_a_peer_that_breaks_the_protocol_is_told(frame: str, tmp_path: Path, js: str) -> None:
    source = """
    const peer = connect(url);
    peer.onstate = (...change) => say(change);
    await peer.send("n", 1);
    const held = peer.send("hold", 1).catch((error) => error.name);
    say(await held);
    say(await peer.send("n", 2));
    await peer.close();
    """
    made = StandIn()

    def handle(channel: str, item: object) -> object:
        return StandIn.HOLD if channel == "hold" else item

    made.handle = handle  # type: ignore[method-assign]
    async with standing_in(made) as (url, _):
        with node(js, tmp_path, source, url) as client:
            await made.until(lambda: made.held)
            (connection,) = made.connections.values()
            await connection.send(bytes.fromhex(frame))
            changes = await in_thread(client)
            assert "OutcomeUnknownError" in changes
            assert any(change[0] == "down" and "protocol error" in change[1] for change in changes), changes
            assert changes[-2] == 2 or changes[-1] == 2 or 2 in changes
            assert any("protocol" in error for error in made.errors), made.errors
