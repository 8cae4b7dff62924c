"""``mesh list``, ``info``, ``ledger``, ``ping`` and ``graph`` on nodes that run, are frozen or down."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import connect
from websockets.sync.server import serve

from tests.helpers.lab import Lab, eventually, lab
from tests.helpers.proc import Proc

pytestmark = pytest.mark.fleet


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Lab, Proc, Proc]]:
    with lab() as found:
        echo = found.run("echo", "Echo")
        ticker = found.run("ticker", "Ticker")
        found.wait_until_answered()
        yield found, echo, ticker


@pytest.fixture
def there(nodes: tuple[Lab, Proc, Proc]) -> Lab:
    return nodes[0]


@pytest.fixture
def frozen(nodes: tuple[Lab, Proc, Proc]) -> Iterator[Lab]:
    found, echo, _ = nodes
    echo.send_signal(signal.SIGSTOP)
    yield found
    echo.send_signal(signal.SIGCONT)
    # Their link was lost, if it took long: the next test finds things as they were.
    found.wait_until_answered()


def seen(found: Lab, name: str, fact: str) -> tuple[str, Any]:
    """Return the state of a node, and one more fact that `mesh list` tells of it."""
    (row,) = [row for row in found.told("list", "--json") if row["node"] == name]
    return row["state"], row[fact]


# -- list ------------------------------------------------------------------------------------------


def test_list_shows_nodes_that_were_started_by_hand_and_those_that_are_down(
    nodes: tuple[Lab, Proc, Proc],
) -> None:
    found, echo, ticker = nodes
    eventually(
        lambda: [line.split()[:4] for line in found.done("list").stdout[1:]],
        [
            ["echo", "up", f"localhost:{found.ports['echo']}", str(echo.pid)],
            ["ticker", "up", "-", str(ticker.pid)],
            ["spare", "down", f"localhost:{found.ports['spare']}", "-"],
        ],
    )
    shown = found.done("list")
    assert shown.stderr == []
    head = ["NODE", "STATE", "WHERE", "PID", "UPTIME", "LINKS", "SKETCH", "NOTE"]
    assert shown.stdout[0].split() == head
    assert not any(line.endswith(" ") or "\x1b" in line for line in shown.stdout)


def test_list_as_one_document(there: Lab) -> None:
    eventually(
        lambda: [
            (row["node"], row["state"], row["in_grid"], row["links_up"])
            for row in there.told("list", "--json")
            if row["node"] != "echo"
        ],
        [("ticker", "up", True, 1), ("spare", "down", True, None)],
    )


def test_list_shows_an_overridden_port_and_a_worker_that_is_not_in_the_grid() -> None:
    with lab() as found:
        other = found.ports["spare"]
        found.run("echo", "Echo", "--port", str(other))
        found.run("guest", "Ticker", "--target", "echo")
        eventually(
            lambda: {
                row["node"]: (row["state"], row["where"], row["in_grid"], row["why"])
                for row in found.told("list", "--json")
                if row["node"] != "spare"
            },
            {
                "echo": ("up", f"localhost:{other}", True, None),
                "ticker": ("down", None, True, None),
                "guest": ("up", None, False, "not in this grid"),
            },
        )
        assert found.done("ping", "echo").stdout[0].startswith("echo ")


def test_list_answers_in_time_with_a_frozen_node_and_says_which(frozen: Lab) -> None:
    (row,) = [row for row in frozen.told("list", "--json") if row["state"] == "frozen"]
    assert row["node"] == "echo"
    assert row["why"] == f"is stopped by a signal (pid {row['pid']}); `kill -CONT {row['pid']}` lets it go on"


def test_list_does_not_wait_for_a_node_whose_event_loop_is_blocked() -> None:
    with lab() as found:
        blocker = found.run("spare", "Blocker")
        found.run("ticker", "Ticker")
        free = found.folder / "free"
        with found.mesh("pub", "spare", str(free), "--timeout", "1m") as waiting:
            blocker.wait_for("blocks")
            rows = {row["node"]: row for row in found.told("list", "--json")}
            free.touch()
            assert waiting.wait() == 0
        assert (rows["spare"]["state"], rows["ticker"]["state"]) == ("frozen", "up")
        assert re.fullmatch(
            rf"has not answered within [\d.]+ s \(pid {blocker.pid}\); its event loop may be blocked",
            rows["spare"]["why"],
        )


def test_list_knows_a_node_by_its_link_alone() -> None:
    with lab() as found:
        found.run("echo", "Echo")
        found.run("ticker", "Ticker", elsewhere=True)

        eventually(lambda: seen(found, "ticker", "why"), ("linked", "known by its link with echo"))


def test_list_asks_a_node_that_is_not_registered_here_at_its_address() -> None:
    with lab() as found:
        echo = found.run("echo", "Echo", elsewhere=True)
        eventually(lambda: seen(found, "echo", "pid"), ("up", echo.pid))
        assert found.told("info", "echo", "--json")["pid"] == echo.pid


def test_list_says_of_another_program_that_it_is_a_plain_server() -> None:
    with lab() as found, serve(lambda _: None, "localhost", found.ports["spare"]) as server:
        from threading import Thread

        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            eventually(lambda: seen(found, "spare", "why"), ("up", "a plain websocket server"))
        finally:
            server.shutdown()
            thread.join()


# -- info ------------------------------------------------------------------------------------------


def test_info_of_a_node_by_its_alias(there: Lab) -> None:
    shown = there.done("info", "parrot")
    assert shown.stderr == []
    text = "\n".join(shown.stdout)
    assert re.search(r"^channels: +echo, number, parts, slow$", text, re.MULTILINE)
    assert re.search(r"^publishes: +crowd, said$", text, re.MULTILINE)
    assert re.search(r"^link: +from ticker at 127.0.0.1:\d+: up$", text, re.MULTILINE)


def test_info_is_in_words_for_people_and_in_numbers_for_programs(there: Lab) -> None:
    text = "\n".join(there.done("info", "echo").stdout)
    assert re.search(r"^memory: +[\d.]+ MiB$", text, re.MULTILINE)
    assert re.search(r"^uptime: +([\d.]+ s|\d+ m \d+ s)$", text, re.MULTILINE)
    facts = there.told("info", "echo", "--json")
    assert (type(facts["memory"]), type(facts["uptime"])) == (int, float)


def test_info_of_an_unknown_node(there: Lab) -> None:
    shown = there.done("info", "tiker", code=4)
    assert (shown.stdout, shown.stderr) == ([], ["Error: unknown node 'tiker', did you mean 'ticker'?"])


def test_info_of_a_node_that_is_down(there: Lab) -> None:
    shown = there.done("info", "spare", "--timeout", "1s", code=4)
    assert shown.stdout == []
    where = f"localhost:{there.ports['spare']}"
    assert shown.stderr == [
        f"Error: spare is down: nobody listens there ({where}); `mesh list` shows what runs"
    ]


def test_info_of_a_frozen_node(frozen: Lab) -> None:
    assert "is stopped by a signal" in frozen.done("info", "echo", "--timeout", "300ms", code=124).stderr[0]


# -- ledger ----------------------------------------------------------------------------------------


def test_ledger_of_all_with_what_is_down_shown_as_down(there: Lab) -> None:
    shown = there.done("ledger")
    assert shown.stderr == ["spare: down"]
    rows = [line.split() for line in shown.stdout]
    assert any(row[:4] == ["ticker", "echo", "sent", "echo"] and row[-1] == "yes" for row in rows)
    assert any(row[:4] == ["echo", "ticker", "received", "echo"] for row in rows)


def test_ledger_of_one_as_a_document(there: Lab) -> None:
    (book,) = there.told("ledger", "ticker", "--json")
    line = book["peers"]["echo"]["sent"]["echo"]
    assert (book["node"], book["balanced"]) == ("ticker", True)
    assert line["acked"] + line["in_flight"] == line["sent"] > 0
    assert "unknown node" in there.done("ledger", "nobody", code=4).stderr[0]


# -- ping ------------------------------------------------------------------------------------------


def test_ping_measures_each_answer(there: Lab) -> None:
    rows = there.rows("ping", "echo", "ticker", "-c", "2", "--interval", "10ms", "--json")
    assert sorted((row["node"], row["number"]) for row in rows) == [
        (name, number) for name in ("echo", "ticker") for number in (1, 2)
    ]
    assert all(row["ms"] > 0 for row in rows)


def test_ping_of_all_says_what_is_down_and_exits_with_4(there: Lab) -> None:
    shown = there.done("ping", code=4)
    assert sorted(line.split()[0] for line in shown.stdout) == ["echo", "ticker"]
    where = f"localhost:{there.ports['spare']}"
    assert shown.stderr == [f"spare   is down: nobody listens there ({where}); `mesh list` shows what runs"]


def test_ping_of_all_says_what_is_frozen() -> None:
    with lab() as found:
        echo = found.run("echo", "Echo")
        found.run("ticker", "Ticker")
        found.run("spare", "Echo")
        echo.send_signal(signal.SIGSTOP)
        shown = found.done("ping", "--timeout", "2s", code=124)
        echo.send_signal(signal.SIGCONT)
        assert sorted(line.split()[0] for line in shown.stdout) == ["spare", "ticker"]
        assert shown.stderr == [
            f"echo    is stopped by a signal (pid {echo.pid}); `kill -CONT {echo.pid}` lets it go on"
        ]


def test_ping_of_a_node_that_is_down_or_silent(there: Lab, frozen: Lab) -> None:
    there.done("ping", "spare", "--timeout", "300ms", code=4)
    there.done("ping", "echo", "--timeout", "300ms", code=124)


# -- graph -----------------------------------------------------------------------------------------


def test_graph_as_lines_and_as_mermaid(there: Lab) -> None:
    lines = ["ticker --> echo  target", "spare", "(spare is down)"]
    eventually(lambda: there.done("graph").stdout, lines)
    drawn = [
        "flowchart LR",
        '    n0["echo"]',
        '    n1["ticker"]',
        '    n2["spare (down)"]',
        "    n1 --> n0",
    ]
    eventually(lambda: there.done("graph", "--format", "mermaid").stdout, drawn)


def test_graph_as_a_document(frozen: Lab) -> None:
    eventually(
        lambda: [node["state"] for node in frozen.told("graph", "--format", "json")["nodes"]],
        ["frozen", "up", "down"],
    )
    (edge,) = frozen.told("graph", "--format", "json")["edges"]
    assert (edge["source"], edge["to"], edge["kind"]) == ("ticker", "echo", "target")


# -- who may ask -------------------------------------------------------------------------------------


def test_a_plain_client_of_this_machine_may_ask_what_is_no_stream(there: Lab) -> None:
    with connect(f"ws://localhost:{there.ports['echo']}/$info") as client:
        client.send("")
        assert json.loads(client.recv())["name"] == "echo"
