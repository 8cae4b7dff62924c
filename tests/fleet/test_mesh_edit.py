"""Editing the grid while a fleet runs: what starts, restarts, stops, moves and comes back."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.fleet import asking
from mesh.errors import AckTimeoutError, PeerDownError
from mesh.runtime import fleet_folder
from tests.helpers.asking import ask, unbalanced
from tests.helpers.meshes import done, mesh, pids, put, save, told, write_fleet
from tests.helpers.ports import free_ports
from tests.helpers.proc import Proc, arduino

pytestmark = pytest.mark.fleet

LAST_GOOD = "the grid has mistakes; the last good one stays live"


@pytest.fixture
def ports() -> list[int]:
    return free_ports(8)


def quiet(name: str, port: int, more: str = "") -> str:
    return f"  {name}: {{sketch: 'crew.py:Quiet', port: {port}{more}}}\n"


def source(name: str, target: str) -> str:
    return f"  {name}: {{sketch: 'crew.py:Source', target: {target}}}\n"


@pytest.fixture
def base(ports: list[int]) -> str:
    return source("source", "sink") + quiet("sink", ports[0])


@pytest.fixture
def grid(tmp_path: Path, base: str, ports: list[int]) -> Path:
    return write_fleet(tmp_path, base + quiet("other", ports[1]))


@pytest.fixture
def up(grid: Path) -> Iterator[Proc]:
    with mesh("up", "--grid", grid) as up:
        up.wait_for("3 nodes are up")
        yield up
        assert up.stop() == 0, up


def test_an_edit_is_followed_and_touches_only_what_changed(
    up: Proc, grid: Path, base: str, ports: list[int]
) -> None:
    up.wait_for("sent 20$")
    before, mark = pids(grid), up.mark
    links = ask("source", "$info", grid)["links"]
    new = base + quiet("third", ports[1]) + quiet("fourth", ports[2])
    save(grid, new)
    for line in (
        "the grid has changed:",
        rf"\+ third: crew\.py:Quiet on localhost:{ports[1]}; starts",
        rf"\+ fourth: crew\.py:Quiet on localhost:{ports[2]}; starts",
        "- other: drains and stops",
        "other removed",
        "third is ready on",
        "the new grid is live",
    ):
        up.wait_for(rf"mesh   \| {line}", since=mark)
    after = pids(grid)
    assert set(after) == {"source", "sink", "third", "fourth"}
    assert (after["source"], after["sink"]) == (before["source"], before["sink"])
    assert ask("source", "$info", grid)["links"] == links
    assert unbalanced(grid) == []
    mark = up.mark
    save(grid, new.replace("Quiet', port: " + str(ports[2]), "Quiet', port: " + str(ports[3])))
    up.wait_for(rf"~ fourth: port {ports[2]} -> {ports[3]}; restarts", since=mark)
    up.wait_for("the new grid is live", since=mark)
    assert pids(grid)["third"] == after["third"]


def test_a_moved_peer_is_dialled_at_its_new_place_and_nothing_is_lost(
    up: Proc, grid: Path, ports: list[int]
) -> None:
    up.wait_for("sent 20$")
    before, mark = pids(grid), up.mark
    save(grid, source("source", "sink") + quiet("sink", ports[5]) + quiet("other", ports[1]))
    up.wait_for(rf"source \| \[ source \] sink has moved to ws://localhost:{ports[5]}/", since=mark)
    up.wait_for("the new grid is live", since=mark)
    mark = up.mark
    up.wait_for("sent ", since=mark)
    assert pids(grid)["source"] == before["source"]
    assert unbalanced(grid) == []
    sent = ask("source", "$ledger", grid)["peers"]["sink"]["sent"]
    assert all(line["nacked"] == 0 for line in sent.values() if "nacked" in line)
    (link,) = ask("source", "$info", grid)["links"]
    assert (link["state"], link["where"]) == ("up", f"ws://localhost:{ports[5]}/")


def test_what_needs_no_restart_is_taken_up_by_the_running_worker(
    up: Proc, grid: Path, base: str, ports: list[int]
) -> None:
    before, mark = pids(grid), up.mark
    wired = base + quiet("other", ports[1], ", aliases: [spare], subscribes: {news: sink}")
    save(grid, wired)
    up.wait_for(r"~ other: aliases, subscribes; without a restart$", since=mark)
    up.wait_for(r"other  \| \[ other \] \*\* subscribed to 'news' of sink$", since=mark)
    assert ask("other", "$info", grid)["subscriptions"][0]["channel"] == "news"
    mark = up.mark
    save(grid, base + quiet("other", ports[1]))
    up.wait_for(r"other  \| \[ other \] \*\* no longer subscribed to 'news' of sink$", since=mark)
    assert ask("other", "$info", grid)["subscriptions"] == []
    assert pids(grid) == before


def test_a_broken_grid_changes_nothing(up: Proc, grid: Path, base: str, ports: list[int]) -> None:
    before = pids(grid)
    good = grid.read_text()
    bombs = "\n".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))
    for text, words in (
        (good.replace("port", "prot", 1), f"{grid}:3:35: unknown field 'prot'; did you mean `port`?"),
        (good[: len(good) // 2], f"{grid}:"),
        ("", f"{grid}:1:1: the grid is empty"),
        (f"nodes:\n  a0: &a0 [x]\n{bombs}\n", f"{grid}:"),
        ("nodes: " + "[" * 5000, f"{grid}:"),
        ("\x00\x01\x02", f"{grid}:"),
        (good.replace("crew.py:Quiet", "crow.py:Quiet"), "there is no file"),
    ):
        mark = up.mark
        put(grid, text)
        up.wait_for(LAST_GOOD, since=mark)
        assert any(words in line.text for line in up.lines[mark:]), (words, up)
    mark = up.mark
    grid.unlink()
    up.wait_for("there is no grid", since=mark)
    up.wait_for(LAST_GOOD, since=mark)
    assert pids_of_running(up, grid, good) == before
    mark = up.mark
    save(grid, base)
    up.wait_for("- other: drains and stops", since=mark)
    up.wait_for("the new grid is live", since=mark)


def test_a_sketch_may_be_written_after_the_grid_that_names_it(
    up: Proc, grid: Path, base: str, ports: list[int], tmp_path: Path
) -> None:
    late = base + f"  late: {{sketch: 'late.py:Quiet', port: {ports[6]}}}\n"
    save(grid, late)
    up.wait_for(f"there is no file {tmp_path / 'late.py'}")
    mark = up.mark
    (tmp_path / "late.py").write_text((tmp_path / "crew.py").read_text())
    save(grid, late)
    up.wait_for("late is ready on", since=mark)
    up.wait_for("the new grid is live", since=mark)


def pids_of_running(up: Proc, grid: Path, good: str) -> dict[str, int]:
    """Put the grid back as it was, which changes nothing, and return who runs."""
    put(grid, good)
    assert up.process.poll() is None
    return pids(grid)


def test_a_new_node_that_does_not_start_brings_the_old_state_back(
    up: Proc, grid: Path, base: str, ports: list[int]
) -> None:
    up.wait_for("sent 20$")
    before, mark = pids(grid), up.mark
    crash = f"  crash: {{sketch: 'crew.py:Crash', port: {ports[3]}}}\n"
    save(grid, base.replace(str(ports[0]), str(ports[4])) + quiet("other", ports[1]) + crash)
    up.wait_for("the last 20 lines of crash:", since=mark)
    up.wait_for("rolled back, for crash failed with exit code 7; the last good grid stays live", since=mark)
    done("is-ready", "--wait", "--grid", grid)
    after = pids(grid)
    assert set(after) == {"source", "sink", "other"}
    assert (after["source"], after["other"]) == (before["source"], before["other"])
    mark = up.mark
    up.wait_for("sent ", since=mark)
    (link,) = ask("source", "$info", grid)["links"]
    assert link["where"] == f"ws://localhost:{ports[0]}/"
    assert unbalanced(grid) == []
    planned = told("plan", "--json", "--grid", grid)
    assert [one["node"] for one in planned["changes"]] == ["sink", "crash"]
    mark = up.mark
    save(grid, base.replace(str(ports[0]), str(ports[4])) + quiet("other", ports[1]))
    up.wait_for("the new grid is live", since=mark)


def test_what_was_rolled_back_is_told_and_tried_again_when_it_is_saved_again(
    up: Proc, grid: Path, base: str, ports: list[int], tmp_path: Path
) -> None:
    mark = up.mark
    crash = base + quiet("other", ports[1]) + f"  crash: {{sketch: 'crew.py:Crash', port: {ports[3]}}}\n"
    save(grid, crash)
    up.wait_for("rolled back, for crash failed with exit code 7", since=mark)
    why = "the grid was rolled back, for crash failed with exit code 7"
    assert why in done("is-ready", "--wait", "--grid", grid).stderr[0]
    plan = done("plan", "--grid", grid)
    assert [line.split(":")[0] for line in plan.stdout] == ["+ crash"]
    assert why in plan.stderr[0]
    found = {one["code"]: one for one in told("doctor", "--json", "--grid", grid, code=1)["findings"]}
    assert why in found["M10"]["what"]
    assert (found["M2"]["node"], found["M2"]["next"]) == (
        "crash",
        "mend what M10 tells of, then save the grid again",
    )
    crew = tmp_path / "crew.py"
    crew.write_text(crew.read_text().replace("os._exit(code)", "pass"))
    mark = up.mark
    os.utime(grid)
    up.wait_for("crash is ready on", since=mark)
    up.wait_for("the new grid is live", since=mark)
    assert done("plan", "--grid", grid).stderr == ["the fleet runs what the grid says"]
    assert done("is-ready", "--grid", grid).stderr == []


def test_an_edit_that_is_read_while_another_one_is_applied_is_not_lost(
    up: Proc, grid: Path, base: str, ports: list[int], tmp_path: Path
) -> None:
    mark = up.mark
    first = base + quiet("other", ports[1]) + f"  gated: {{sketch: 'crew.py:Gated', port: {ports[2]}}}\n"
    save(grid, first)
    up.wait_for(r"\+ gated", since=mark)
    save(grid, first + quiet("third", ports[3]))
    # It answers once the first change is through, and that waits for the gate.
    with pytest.raises((AckTimeoutError, PeerDownError)):
        asking.ask(fleet_folder(grid), "reload", timeout=2.0)
    (tmp_path / "gate").touch()
    up.wait_for("gated is ready", since=mark)
    up.wait_for(r"\+ third", since=mark)
    up.wait_for("third is ready", since=mark)


# -- where the grid is ---------------------------------------------------------------------------


def test_the_fleet_of_a_grid_that_is_gone_is_found(up: Proc, grid: Path) -> None:
    folder = grid.parent
    grid.rename(grid.with_name("away.yaml"))
    up.wait_for("there is no grid")

    def here(*arguments: str, code: int = 0) -> Proc:
        return done(*arguments, cwd=folder, code=code)

    gone = f"{grid} is gone; this is the last good grid, which its fleet runs"
    listed = here("list", "--json")
    assert listed.stderr == [gone]
    nodes = {node["node"]: node["state"] for node in json.loads("\n".join(listed.stdout))}
    assert set(nodes) == {"source", "sink", "other"}
    assert "down" not in nodes.values()
    examined = here("doctor", "--json", code=1)
    assert [one["code"] for one in json.loads("\n".join(examined.stdout))["findings"]] == ["M1"]
    assert here("restart", "other").stderr == ["other is ready"]
    assert here("is-ready").stderr == []
    assert "there is no grid grid.yaml" in here("up", code=2).stderr[0]
    assert here("logs", "--tail", "1").stderr == []
    assert here("down").stderr == ["the fleet is down"]
    assert up.wait() == 0


def test_who_falls_back_to_the_shipped_grid_says_so(tmp_path: Path) -> None:
    shipped = "there is no ./grid.yaml; this is the grid that came with sketchmesh"
    assert done("list", cwd=tmp_path).stderr == [shipped]
    assert done("down", cwd=tmp_path).stderr[0] == shipped


def test_a_link_may_be_turned_to_another_grid_while_the_fleet_runs(
    tmp_path: Path, base: str, ports: list[int]
) -> None:
    first = write_fleet(tmp_path, quiet("sink", ports[0])).rename(tmp_path / "a.yaml")
    second = save(tmp_path / "b.yaml", quiet("sink", ports[1]))
    link = tmp_path / "grid.yaml"
    link.symlink_to(first.name)
    with mesh("up", "--grid", link) as up:
        up.wait_for("1 node is up")
        assert "runs already" in done("up", "--grid", first, code=1).stderr[0]
        link.with_name("new").symlink_to(second.name)
        link.with_name("new").replace(link)
        up.wait_for(rf"~ sink: port {ports[0]} -> {ports[1]}; restarts")
        up.wait_for("the new grid is live")
        assert "nothing to do" in done("down", "--grid", first).stderr[0]
        assert done("down", "--grid", link).stderr == ["the fleet is down"]
        assert up.wait() == 0


def test_a_worker_started_by_hand_takes_up_moved_and_new_peers(tmp_path: Path, ports: list[int]) -> None:
    grid = write_fleet(tmp_path, source("source", "sink") + quiet("sink", ports[0]))
    crew = tmp_path / "crew.py"
    with arduino(f"{crew}:Source", "--name", "source", "--grid", grid) as by_hand:
        with arduino(f"{crew}:Quiet", "--name", "sink", "--grid", grid) as first:
            by_hand.wait_for("sent 20$")
            first.stop()
        save(grid, source("source", "sink") + quiet("sink", ports[1]))
        by_hand.wait_for(r"\[ source \] the grid has changed: ~ sink$")
        with arduino(f"{crew}:Quiet", "--name", "sink", "--grid", grid):
            mark = by_hand.mark
            by_hand.wait_for("sent ", since=mark)
            assert ask("source", "$info", grid)["links"][0]["where"] == f"ws://localhost:{ports[1]}/"
            save(grid, "  sink: {port: 1, prot: 2}\n")
            by_hand.wait_for(r"is not taken up; the last good one stays: .*:2:19: unknown field 'prot'")
            save(grid, source("source", "sink").replace("}", ", args: {every: 1}}") + quiet("sink", ports[1]))
            by_hand.wait_for("args of source changed in the grid; that takes effect when it is started again")
            save(grid, quiet("sink", ports[1]))
            by_hand.wait_for("source is not in the grid any more, and goes on as it was")
            assert by_hand.stop() == 0, by_hand


# -- many edits ------------------------------------------------------------------------------------


class Author:
    """Writes one grid after the other: nodes come, go, move and change; some grids are broken."""

    def __init__(self, grid: Path, ports: list[int], seed: int, most: int) -> None:
        self.grid = grid
        self.chance = random.Random(seed)
        self.ports = ports
        self.most = most
        self.fixed = source("source", "sink") + quiet("sink", ports[0])
        self.free = list(ports[1:])
        self.nodes: dict[str, tuple[int, int]] = {}
        self.count = 0
        self.saves = 0

    def edit(self) -> bool:
        """Save the next grid; return whether it is a good one."""
        chance = self.chance
        for _ in range(chance.randint(1, 3)):
            kind = chance.choice(["add", "add", "remove", "move", "change"])
            if kind == "add" and len(self.nodes) < self.most and self.free:
                self.count += 1
                self.nodes[f"n{self.count}"] = (self.free.pop(), 0)
            elif self.nodes:
                name = chance.choice(sorted(self.nodes))
                port, version = self.nodes.pop(name)
                if kind == "remove":
                    self.free.insert(0, port)
                elif kind == "move" and self.free:
                    self.free.insert(0, port)
                    self.nodes[name] = (self.free.pop(), version)
                else:
                    self.nodes[name] = (port, version + 1)
        text = self.text()
        self.saves += 1  # no two are alike, so that each is told
        if chance.random() < 0.3:
            broken = chance.choice(
                [text[: len(text) // 2] + "\n {", "  a: {prot: 1}\n", text + text, "  - x\n"]
            )
            save(self.grid, f"{broken} # {self.saves}\n")
            return False
        save(self.grid, f"{text}  # {self.saves}\n")
        return True

    def text(self) -> str:
        return self.fixed + "".join(
            quiet(name, port, f", aliases: [{name}v{version}]" if version % 2 else "")
            for name, (port, version) in self.nodes.items()
        )

    def names(self) -> set[str]:
        return {"source", "sink", *self.nodes}


def edit_often(tmp_path: Path, edits: int, most: int, seed: int, first: int = 0) -> None:
    print(f"seed {seed}")  # is shown when it fails
    ports = free_ports(most + 20)
    author = Author(write_fleet(tmp_path, ""), ports, seed, most)
    for _ in range(first):
        author.count += 1
        author.nodes[f"n{author.count}"] = (author.free.pop(), 0)
    save(author.grid, author.text())
    grid = author.grid
    with mesh("up", "--grid", grid) as up:
        up.wait_for(rf"{2 + first} nodes are up", within=60)
        before = pids(grid)
        for _ in range(edits):
            mark = up.mark
            expected = "the new grid is live" if author.edit() else LAST_GOOD
            up.wait_for(expected, since=mark, within=60)
        save(grid, author.text())
        end = time.monotonic() + 60
        while set(pids(grid)) != author.names() and time.monotonic() < end:
            time.sleep(0.2)
        after = pids(grid)
        assert set(after) == author.names()
        assert (after["source"], after["sink"]) == (before["source"], before["sink"])
        assert unbalanced(grid) == []
        sent = ask("source", "$ledger", grid)["peers"]["sink"]["sent"]
        assert sum(line["acked"] for line in sent.values()) > 0
        assert up.stop(within=20) == 0, up


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_random_edits_some_of_them_broken(tmp_path: Path) -> None:
    edit_often(tmp_path, edits=10, most=8, seed=random.randrange(10**6), first=3)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_fifty_nodes_take_a_hundred_random_edits(tmp_path: Path, soak_seconds: float) -> None:
    # Short, it shows that the long one can run.
    edits, most = (100, 50) if soak_seconds >= 60 else (2, 4)
    edit_often(tmp_path, edits=edits, most=most, seed=random.randrange(10**6), first=most - 4)
