"""MessagePack of ``mesh.js``: what Python writes it reads, and the other way round."""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from tests.conftest import RequireTool
from tests.helpers.js import find_node, node, said

pytestmark = pytest.mark.fleet

ROUND = """
import { readFileSync, writeFileSync } from "node:fs";
const values = decode(readFileSync(args[0]));
writeFileSync(args[1], encode(values.map((bytes) => encode(decode(bytes)))));
say(values.length);
"""


def value(random: Random, depth: int = 0) -> Any:
    kinds = 8 if depth < 5 else 6
    match random.randrange(kinds):
        case 0:
            return random.choice([None, True, False])
        case 1:
            edge = 2 ** random.randrange(65)
            return max(-(2**63), min(2**64 - 1, random.choice([1, -1]) * edge + random.randrange(-2, 3)))
        case 2:
            return random.choice([random.random(), -0.5, 1e300, 5e-324, math.inf, -math.inf, 2.0**70])
        case 3:
            return "".join(random.choices('aé€😀\0\ufeff\\"', k=random.choice([0, 1, 31, 32, 255, 256, 300])))
        case 4:
            return random.randbytes(random.choice([0, 1, 255, 256, 70_000 if depth == 0 else 3]))
        case 5:
            return random.randrange(-40, 200)
        case 6:
            return [value(random, depth + 1) for _ in range(random.choice([0, 1, 5, 15, 16, 40 >> depth]))]
        case _:
            keys = ["a", "__proto__", "constructor", "toString", "é", "", *map(str, range(16))]
            picked = random.sample(keys, random.choice([0, 1, 4, 16]))
            return {key: value(random, depth + 2) for key in picked}


def test_what_python_writes_comes_back_the_same(tmp_path: Path, require_tool: RequireTool) -> None:
    seed = Random().randrange(10**6)
    random = Random(seed)
    values = [value(random) for _ in range(500)]
    values += [
        ["x"] * 70_000,
        {"k" * 70_000: "v"},
        {(str(n)): n for n in range(70_000)},
    ]
    values += [
        2**53 - 1,
        2**53,
        -(2**53),
        2**64 - 1,
        -(2**63),
        -32,
        -33,
        -128,
        -129,
        127,
        128,
        255,
        65535,
        65536,
    ]
    (tmp_path / "in").write_bytes(msgspec.msgpack.encode([msgspec.msgpack.encode(one) for one in values]))
    with node(find_node(require_tool), tmp_path, ROUND, "", tmp_path / "in", tmp_path / "out") as js:
        assert said(js) == [len(values)]
    back = [msgspec.msgpack.decode(one) for one in msgspec.msgpack.decode((tmp_path / "out").read_bytes())]
    for one, other in zip(values, back, strict=True):
        assert one == other, f"seed {seed}"


STRICT = """
const threw = (call) => { try { call(); return "nothing"; } catch (error) { return error.name; } };
const hex = (text) => Uint8Array.from(text.match(/../g) ?? [], (byte) => parseInt(byte, 16));
const deep = (levels) => { let value = 1; while (levels--) value = [value]; return value; };
const malformed = ["", "c1", "92c0", "a2ff",
  "a2fffe", "c0c0", "ddffffffff", "dfffffffff", "c6ffffffff00", "cb00", "d9",
  "81a161", "91".repeat(300) + "c0", "81a161".repeat(300) + "c0"];
say(malformed.map((text) => threw(() => decode(hex(text)))));
const own = decode(encode(JSON.parse('{"__proto__": {"polluted": 1}, "x": 2}')));
say([own.polluted ?? null, Object.keys(own), {}.polluted ?? null]);
const unsendable = [() => 1, Symbol("x"), 2n ** 64n, -(2n ** 63n) - 1n, deep(201), new Uint8Array(2 ** 25)];
say(unsendable.map((value) => threw(() => encode(value))));
const loop = []; loop.push(loop);
say(threw(() => encode(loop)));
const mixed = [undefined, new Set([1]), new Date(0), 2n, new Float32Array([0.5]), -0, { a: undefined }];
say(decode(encode(mixed)));
say([2n ** 53n, -(2n ** 63n), 2n ** 64n - 1n].map((big) => decode(encode(big)) === big));
say(decode(encode(new Map([[1, "a"], ["b", [2]]]))));
say(threw(() => encode(deep(199))));
const stamp = decode(hex(args[0]));
say([...stamp]);
say(NaN === NaN || Number.isNaN(decode(encode(NaN))));
"""


def test_it_is_strict_and_safe(tmp_path: Path, require_tool: RequireTool) -> None:
    stamp = msgspec.msgpack.encode(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    with node(find_node(require_tool), tmp_path, STRICT, "", stamp.hex()) as js:
        malformed, own, unsendable, loop, mixed, big, pairs, deep, extension, nan = said(js)
    assert "nothing" not in malformed, malformed
    assert own == [None, ["__proto__", "x"], None]
    assert unsendable == ["PayloadError"] * 5 + ["RangeError"]
    assert loop == "PayloadError"
    assert mixed == [None, [1], "1970-01-01T00:00:00.000Z", 2, [0.5], 0, {"a": None}]
    assert big == [True] * 3
    assert pairs == [[1, "a"], ["b", [2]]]
    assert deep == "nothing"
    assert extension[0] == 255, "the type, -1"
    assert len(extension[1:]) in (4, 8, 12)
    assert nan


FUZZ = """
const seed = Number(args[0]);
let state = seed;
const random = (below) => (state = (state * 1103515245 + 12345) % 2 ** 31) % below;
const items = [{ a: [1, -5, 2 ** 40, 1.5, "text", null, true] }, new Uint8Array(20)];
const whole = encode([[3, "tick", 1, 1, items]]);
const names = new Set();
const begin = process.cpuUsage();
for (let n = 0; n < 30_000; n++) {
  const bytes = n % 2 ? whole.slice() : Uint8Array.from({ length: random(40) }, () => random(256));
  for (let k = random(4); k >= 0 && bytes.length; k--) bytes[random(bytes.length)] = random(256);
  try { decode(bytes); } catch (error) { names.add(error.name); }
}
say([...names]);
say(process.cpuUsage(begin).user / 1000);
say(process.memoryUsage().rss);
"""


def test_noise_is_refused_quickly_and_takes_no_memory(tmp_path: Path, require_tool: RequireTool) -> None:
    seed = Random().randrange(2**31)
    with node(find_node(require_tool), tmp_path, FUZZ, "", seed) as js:
        names, milliseconds, memory = said(js)
    assert set(names) <= {"ProtocolError", "RangeError", "TypeError"}, seed
    assert milliseconds < 5000, seed
    assert memory < 300e6, seed
