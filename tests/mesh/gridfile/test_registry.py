"""Nodes come from a file, the environment, a list, or wherever a program likes (B18, B32)."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import mesh.gridfile
from mesh.errors import GridError
from mesh.gridfile import EnvRegistry, FileRegistry, Grid, Registry, StaticRegistry, grid
from mesh.node import Node

DOCS = Path(mesh.gridfile.__file__).parents[2] / "docs" / "reference" / "grid.md"


def test_b18_a_file(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("nodes: {a: {port: 1}}\norigins: [http://pi]\n")
    registry: Registry = FileRegistry(path)
    read = grid(registry)
    assert read == [Node("a", port=1)]
    assert (read.path, read.origins) == (path, ("http://pi",))


def test_b18_a_list() -> None:
    nodes = [Node("a", port=1), Node("b")]
    registry: Registry = StaticRegistry(iter(nodes))
    assert grid(registry) == nodes
    assert grid(registry) == nodes


def test_b18_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_NODES", "buzzer=localhost:8766,blink=[::1]:8765, clock= ,pi = pi.local:1")
    registry: Registry = EnvRegistry()
    assert grid(registry) == [
        Node("buzzer", "localhost", 8766),
        Node("blink", "::1", 8765),
        Node("clock"),
        Node("pi", "pi.local", 1),
    ]
    assert grid(registry).node("blink").uri() == "ws://[::1]:8765/"


def test_b18_another_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB", "a=localhost:1")
    assert grid(EnvRegistry(variable="LAB")).names() == ["a"]


@pytest.mark.parametrize("value", [None, "", "  "])
def test_b18_an_empty_environment(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("MESH_NODES", raising=False)
    if value is not None:
        monkeypatch.setenv("MESH_NODES", value)
    with pytest.raises(GridError, match="MESH_NODES is not set or empty; set it to something like"):
        grid(EnvRegistry())


@pytest.mark.parametrize(
    ("value", "column", "words"),
    [
        ("buzzer", 1, "'buzzer' has no ="),
        ("a=localhost:1,", 15, "'' has no ="),
        ("a=localhost:1, $b=localhost:2", 16, "reserved"),
        ("9=localhost:1", 1, "not a name"),
        ("a=localhost", 1, "'localhost' is not an address"),
        ("a=::1", 1, "'::1' is not an address"),
        ("a=localhost:0", 1, "from 1 to 65535"),
        ("a=localhost:65536", 1, "from 1 to 65535"),
        ("a=localhost:x", 1, "not an address"),
        ("a=ws://localhost:1", 1, "not an address"),
        ("a=:1", 1, "an empty host"),
        ("a=my pi:1", 1, "no spaces"),
        ("a=[pi]:1", 1, "only IPv6 has brackets"),
        ("a=[]:1", 1, "an empty host"),
        ("a=localhost:1,a=localhost:2", 15, "'a' is there twice"),
    ],
)
def test_b18_a_broken_environment(
    monkeypatch: pytest.MonkeyPatch, value: str, column: int, words: str
) -> None:
    monkeypatch.setenv("MESH_NODES", value)
    with pytest.raises(GridError) as caught:
        grid(EnvRegistry())
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"$MESH_NODES:1:{column}: ")
    assert words in str(problem)


def test_b18_all_mistakes_of_the_environment_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_NODES", "a,b=x,c=localhost:1,9=")
    with pytest.raises(GridError, match="MESH_NODES has 3 mistakes"):
        grid(EnvRegistry())


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([Node("a", port=1), Node("a", port=2)], "two nodes are called 'a'"),
        ([Node("a", port=1), Node("b", port=2, aliases=("a",))], "two nodes are called 'a'"),
        ([Node("a", port=1), Node("b", "127.0.0.1", 1)], "a and b both listen on port 1"),
    ],
)
def test_b18_what_a_registry_gives_must_fit_together(nodes: list[Node], words: str) -> None:
    with pytest.raises(GridError, match=words):
        grid(StaticRegistry(nodes))


def test_b32_any_class_with_nodes_is_a_registry() -> None:
    class Gossip:
        def nodes(self) -> Iterable[Node]:
            yield Node("a", port=1)

    heard = grid(Gossip())
    assert isinstance(heard, Grid)
    assert heard.node("a").port == 1


CATALOGUE = {
    "/v1/catalog/services": {"consul": [], "buzzer": ["mesh"], "blink": ["mesh"]},
    "/v1/catalog/service/buzzer": [{"Address": "10.0.0.5", "ServiceAddress": "", "ServicePort": 8766}],
    "/v1/catalog/service/blink": [{"Address": "10.0.0.5", "ServiceAddress": "10.0.0.6", "ServicePort": 8765}],
}


class Catalogue(BaseHTTPRequestHandler):
    """Answers as the HTTP catalogue of consul does."""

    def do_GET(self) -> None:
        body = json.dumps(CATALOGUE[self.path.partition("?")[0]]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(name="consul")
def _consul() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Catalogue) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _registry_of_the_docs() -> dict[str, object]:
    blocks = re.findall(r"^```python\n(.*?)^```", DOCS.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (block,) = (block for block in blocks if "class ConsulRegistry" in block)
    names: dict[str, object] = {}
    exec(compile(block, str(DOCS), "exec"), names)
    return names


def test_b32_the_consul_registry_of_the_docs_works(consul: str) -> None:
    make = _registry_of_the_docs()["ConsulRegistry"]
    assert callable(make)
    found = grid(make(consul))
    assert [(node.name, node.host, node.port) for node in found] == [
        ("buzzer", "10.0.0.5", 8766),
        ("blink", "10.0.0.6", 8765),
    ]


def test_b32_the_consul_registry_of_the_docs_says_when_consul_is_away() -> None:
    make = _registry_of_the_docs()["ConsulRegistry"]
    assert callable(make)
    with pytest.raises(GridError, match="consul"):
        grid(make("http://127.0.0.1:1"))


class Away:
    def nodes(self) -> list[Node]:
        raise OSError("no route to consul")


class Lazy:
    def nodes(self) -> Iterator[Node]:
        yield Node("a", port=1)
        raise KeyError("b")


class Words:
    def nodes(self) -> list[Node]:
        return ["a"]  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("registry", "words"),
    [
        (Away(), r"Away\.nodes\(\) raised OSError: no route to consul"),
        (Lazy(), r"Lazy\.nodes\(\) raised KeyError: 'b'"),
        (Words(), r"Words\.nodes\(\) must give nodes, and gave 'a'"),
    ],
)
def test_a_registry_that_fails_is_an_error_of_the_grid(registry: Registry, words: str) -> None:
    with pytest.raises(GridError, match=words):
        grid(registry)
