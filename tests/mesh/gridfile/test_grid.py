"""The grid finds nodes by name; rows B15 to B20, B32, B33 and M2 of the source."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import mesh.gridfile
from mesh.errors import GridError, NotAServerError, UnknownNodeError
from mesh.gridfile import Grid, Group, grid, parse_grid
from mesh.node import Node, Tls

ROOT = Path(mesh.gridfile.__file__).parents[2]
ROOT_GRID = ROOT / "grid.yaml"


@pytest.fixture(name="shipped")
def _shipped() -> Grid:
    return grid(ROOT_GRID)


def test_b11_reading_a_grid_registers_each_node_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mesh.node"):
        read = grid(ROOT_GRID)
        read.visible_to(read.node("clock"))
    assert caplog.messages == [f"registering new node: {name}" for name in ("clock", "blink", "buzzer")]


def test_b15_the_grid_is_a_list_of_the_three_nodes(shipped: Grid) -> None:
    assert isinstance(shipped, list)
    assert [(node.name, node.port) for node in shipped] == [
        ("clock", None),
        ("blink", 8765),
        ("buzzer", 8766),
    ]
    assert all(isinstance(node, Node) for node in shipped)
    assert shipped.names() == ["clock", "blink", "buzzer"]
    assert shipped.path == ROOT_GRID


def test_b16_both_names_of_the_pin_find_it(shipped: Grid) -> None:
    assert shipped.node("iopin") is shipped.node("blink")
    assert shipped.node("blink").aliases == ("iopin",)


def test_b17_the_clock_is_no_server_and_needs_no_port(shipped: Grid) -> None:
    clock = shipped.node("clock")
    assert clock.port is None
    assert not clock.is_server
    assert clock.target == "blink"
    with pytest.raises(NotAServerError, match="'clock'"):
        clock.uri()


def test_b20_the_way_of_the_source_works(shipped: Grid) -> None:
    assert next(filter(lambda x: x.name == "buzzer", shipped)) is shipped.node("buzzer")


@pytest.mark.parametrize(
    ("name", "message", "suggestion"),
    [
        ("buzer", "unknown node 'buzer', did you mean 'buzzer'?", "buzzer"),
        ("Buzzer", "unknown node 'Buzzer', did you mean 'buzzer'?", "buzzer"),
        ("iopn", "unknown node 'iopn', did you mean 'iopin'?", "iopin"),
        ("xyz", "unknown node 'xyz'; the grid has clock, blink and buzzer", None),
        ("", "unknown node ''; the grid has clock, blink and buzzer", None),
    ],
)
def test_b20_an_unknown_name_says_what_there_is(
    shipped: Grid, name: str, message: str, suggestion: str | None
) -> None:
    with pytest.raises(UnknownNodeError) as caught:
        shipped.node(name)
    assert str(caught.value) == message
    assert (caught.value.name, caught.value.suggestion) == (name, suggestion)
    assert isinstance(caught.value, LookupError)


async def test_b20_an_unknown_name_in_a_coroutine_is_no_runtime_error(shipped: Grid) -> None:
    with pytest.raises(UnknownNodeError):
        shipped.node("xyz")


def test_b20_large_and_empty_grids_are_not_listed_at_length() -> None:
    with pytest.raises(UnknownNodeError, match=r"'x'; the grid has no nodes$"):
        Grid().node("x")
    with pytest.raises(UnknownNodeError, match=r"node-10, node-11 and 88 more$"):
        Grid(Node(f"node-{number}") for number in range(100)).node("zzzzzzzz")


def test_b20_a_name_goes_before_an_alias() -> None:
    first, second = Node("a", aliases=("b",)), Node("b")
    assert Grid([first, second]).node("b") is second


PEERS = """\
nodes:
  clock: {sketch: clock, peers: [iopin]}
  blink: {sketch: iopin, port: 8765, aliases: [iopin]}
  buzzer: {sketch: buzzer, port: 8766, aliases: [beeper], peers: []}
groups:
  all: {members: [blink, beeper]}
  loud: {members: [buzzer]}
"""


def test_b33_a_node_with_peers_sees_only_those_and_itself() -> None:
    whole = parse_grid(PEERS.encode(), "my.yaml")
    seen = whole.visible_to(whole.node("clock"))
    assert seen.names() == ["clock", "blink"]
    assert seen.node("iopin") is whole.node("blink")
    assert {name: group.members for name, group in seen.groups.items()} == {"all": ("blink",)}
    assert whole.visible_to(whole.node("buzzer")).names() == ["buzzer"]


def test_b33_a_node_without_peers_sees_all() -> None:
    whole = parse_grid(PEERS.encode())
    seen = whole.visible_to(whole.node("blink"))
    assert seen == whole
    assert seen.groups == whole.groups


@pytest.mark.parametrize("name", ["buzzer", "beeper"])
def test_b33_a_hidden_name_says_that_peers_hide_it(name: str) -> None:
    whole = parse_grid(PEERS.encode(), "my.yaml")
    with pytest.raises(UnknownNodeError) as caught:
        whole.visible_to(whole.node("clock")).node(name)
    assert str(caught.value) == (
        f"node {name!r} is hidden: `peers:` of 'clock' does not list it; add it there (my.yaml:2:33)"
    )


def test_b33_a_hidden_name_is_never_suggested() -> None:
    whole = parse_grid(PEERS.encode())
    with pytest.raises(UnknownNodeError, match="unknown node 'buzer'; the grid has clock and blink"):
        whole.visible_to(whole.node("clock")).node("buzer")


def test_b33_an_ad_hoc_node_sees_all(shipped: Grid) -> None:
    assert shipped.visible_to(Node("visitor")) == shipped


def test_m2_a_node_is_added_by_editing_the_grid_alone(tmp_path: Path) -> None:
    added = "  thermostat:\n    sketch: thermostat.py:Thermostat\n    port: 8770\n    args: {degrees: 21.5}\n"
    path = tmp_path / "grid.yaml"
    text = ROOT_GRID.read_text("utf-8")
    path.write_text(text.replace("nodes:\n", "nodes:\n" + added, 1), "utf-8")
    edited = grid(path)
    assert edited.names() == ["thermostat", "clock", "blink", "buzzer"]
    thermostat = edited.node("thermostat")
    assert thermostat.uri("x") == "ws://localhost:8770/x"
    assert (thermostat.sketch, thermostat.args) == ("thermostat.py:Thermostat", {"degrees": 21.5})
    assert edited.path == path


def test_m2_the_examples_in_the_comments_of_the_grid_are_right() -> None:
    lines = ROOT_GRID.read_text("utf-8").splitlines()
    start = next(index for index, line in enumerate(lines) if line.strip() == "# thermostat:")
    # Everything commented out from there on that is no prose becomes part of the grid.
    prose = ("# Nodes that belong", "# Web pages from")
    taken = [
        line.replace("# ", "", 1) if not line.startswith(prose) and line.strip() != "#" else ""
        for line in lines[start:]
    ]
    text = "\n".join(lines[:start] + taken) + "\n"
    tried = parse_grid(text.encode())
    assert tried.names() == ["clock", "blink", "buzzer", "thermostat"]
    assert tried.node("thermostat").peers == ("buzzer",)
    assert tried.groups["lab"] == Group("lab", ("blink", "buzzer"), "ring")
    assert tried.origins == ("http://pi.local:8000",)


def test_what_a_node_keeps(shipped: Grid) -> None:
    blink = shipped.node("blink")
    assert (blink.sketch, blink.host, blink.args) == ("iopin", "localhost", {"chance": 0.6})
    assert (blink.tls, blink.peers) == (False, None)
    assert shipped.node("buzzer").args == {"sound": "buzz buzz buzz"}


def test_every_field_and_argument_knows_its_place() -> None:
    text = "nodes:\n  a:\n    port: 1\n    args:\n      x: [5, {y: z}]\n"
    node = parse_grid(text.encode(), "my.yaml")[0]
    assert node.marks == {
        (): (2, 3),
        ("port",): (3, 11),
        ("args",): (5, 7),
        ("args", "x"): (5, 10),
        ("args", "x", "0"): (5, 11),
        ("args", "x", "1"): (5, 14),
        ("args", "x", "1", "y"): (5, 18),
    }
    assert node.where("args", "x", "1") == "my.yaml:5:14"


def test_args_are_plain_python() -> None:
    text = (
        'nodes: {a: {sketch: x, args: {a: NOT, b: "1", c: 1, d: 1.5, e: true, f: null, g: [x, {h: y}], i: }}}'
    )
    args = parse_grid(text.encode())[0].args
    expected = {"a": "NOT", "b": "1", "c": 1, "d": 1.5, "e": True, "f": None, "i": None}
    assert args == expected | {"g": ["x", {"h": "y"}]}
    assert type(args["g"]) is list
    assert type(args["g"][1]) is dict


def test_aliases_become_names() -> None:
    read = parse_grid(PEERS.encode())
    assert read.node("clock").peers == ("blink",)
    assert read.groups["all"] == Group("all", ("blink", "buzzer"))


def test_origins_are_as_a_browser_sends_them() -> None:
    text = "nodes: {a: {port: 1}}\norigins: [HTTPS://Pi.Local:443, http://pi:80, http://pi, http://x:443]\n"
    assert parse_grid(text.encode()).origins == ("https://pi.local", "http://pi", "http://x:443")


def test_the_origin_null_may_be_listed_in_quotes() -> None:
    # Any page can have it; but whoever lists it has been told so.
    read = parse_grid(b"nodes: {a: {port: 1}}\norigins: ['null', http://pi]\n")
    assert read.origins == ("null", "http://pi")


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True).filter(
    lambda name: name.lower() not in {"yes", "no", "on", "off", "true", "false", "null"}
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=10),
)
KEYS = st.text("abc é:#'", max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
ENTRIES = st.fixed_dictionaries(
    {"sketch": st.sampled_from(["buzzer", "x.py:X", "a.b:C"])},
    optional={
        "args": st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True), VALUES, max_size=3),
        "host": st.sampled_from(["localhost", "pi.local", "10.0.0.1", "::1"]),
        "tls": st.booleans(),
        "peers": st.just([]),
    },
)


class Quoting(yaml.SafeDumper):
    """Writes text in double quotes, so that it is text to every reader."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


Quoting.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)
Quoting.add_representer(
    float, lambda dumper, number: dumper.represent_scalar("tag:yaml.org,2002:float", yaml_float(number))
)


def yaml_float(number: float) -> str:
    """Return a float as the grid writes it: digits on both sides of the dot, signed exponent."""
    digits, _, exponent = repr(number).partition("e")
    digits = digits if "." in digits else digits + ".0"
    return f"{digits}e{int(exponent):+d}" if exponent else digits


@given(st.dictionaries(NAMES, ENTRIES, min_size=1, max_size=5), st.booleans())
def test_a_valid_grid_comes_back_as_it_was_written(entries: dict[str, Any], flow: bool) -> None:
    for index, entry in enumerate(entries.values()):
        entry["port"] = index + 1
    text = yaml.dump(
        {"nodes": entries}, Dumper=Quoting, sort_keys=False, allow_unicode=True, default_flow_style=flow
    )
    read = parse_grid(text.encode())
    assert read.names() == list(entries)
    for node in read:
        entry = entries[node.name]
        assert node.sketch == entry["sketch"]
        assert node.port == entry["port"]
        assert dict(node.args) == entry.get("args", {})
        assert node.host == entry.get("host", "localhost")
        assert node.tls is entry.get("tls", False)
        assert node.peers == (() if "peers" in entry else None)


def test_a_grid_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="the grid is empty") as caught:
        parse_grid(b"")
    assert isinstance(caught.value, GridError)


def test_the_files_of_tls_count_from_the_grid(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text("nodes: {a: {port: 1, tls: {cert: certs/a.crt, key: /x/a.key}}}")
    (node,) = grid(path)
    assert node.tls == Tls(str(tmp_path / "certs/a.crt"), "/x/a.key")
    assert node.uri() == "wss://localhost:1/"
