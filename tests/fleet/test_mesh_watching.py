"""``mesh echo``, ``hz`` and ``wire`` on nodes that run."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.lab import Lab, lab
from tests.helpers.proc import Proc

pytestmark = pytest.mark.fleet

LOOKS = r"looking on at (echo|spare|ticker); Ctrl-C ends it"


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Lab, Proc]]:
    with lab() as found:
        echo = found.run("echo", "Echo")
        found.run("spare", "Crowd")
        yield found, echo


@pytest.fixture
def there(nodes: tuple[Lab, Proc]) -> Lab:
    return nodes[0]


def objects(proc: Proc) -> list[Any]:
    """Return the JSON objects that a command has printed so far, one for each line."""
    return [json.loads(line) for line in proc.stdout]


# -- echo ------------------------------------------------------------------------------------------


def test_echo_shows_what_comes_and_what_is_published_with_the_direction(there: Lab) -> None:
    with there.mesh("echo", "parrot", "-n", "3") as looking:
        looking.wait_for(LOOKS)
        there.done("pub", "echo/echo", "hello")
        there.done("pub", "echo/number", "7")
        assert looking.wait() == 0
        time = r"\d\d:\d\d:\d\d\.\d{3}"
        assert [
            bool(re.fullmatch(f"{time} {row}", line))
            for row, line in zip(
                [r"< echo/echo  hello  \[\$script-\w+\]", "> echo/said  hello", r"< echo/number  7  \[.+\]"],
                looking.stdout,
                strict=True,
            )
        ] == [True] * 3, looking
        assert looking.stderr == ["looking on at echo; Ctrl-C ends it"]


def test_echo_of_one_channel_with_the_acks_and_refusals(there: Lab) -> None:
    with there.mesh("echo", "echo/number", "--acks", "-n", "4", "--json") as looking:
        looking.wait_for(LOOKS)
        there.done("pub", "echo/echo", "not this one")
        there.done("pub", "echo/number", "7")
        there.done("pub", "echo/number", "warm", code=1)
        assert looking.wait() == 0
        rows = [json.loads(line) for line in looking.stdout]
        assert [(row["way"], row["channel"], row.get("data")) for row in rows] == [
            ("<", "number", 7),
            ("=", "number", 14.0),
            ("<", "number", "warm"),
            ("=", "number", None),
        ]
        assert rows[-1]["refused"]["type"] == "PayloadError"


def test_echo_shows_only_what_matches(there: Lab) -> None:
    with there.mesh("echo", "echo", "--filter", "^echo h", "-n", "1") as looking:
        looking.wait_for(LOOKS)
        for word in ("cold", "hot"):
            there.done("pub", "echo/echo", word)
        assert looking.wait() == 0
        assert "hot" in looking.stdout[0]
    assert "is no regular expression" in there.done("echo", "echo", "--filter", "(", code=2).stderr[-1]


def test_echo_can_be_fed_to_pub(there: Lab) -> None:
    with there.mesh("echo", "echo/echo", "--json", "-n", "2") as looking:
        looking.wait_for(LOOKS)
        there.done("pub", "echo/echo", "one")
        there.done("pub", "echo/echo", '{"two": 2}')
        looking.wait()
        rows = looking.stdout
    with there.mesh("pub", "echo", "--stdin", interactive=True) as feeding:
        feeding.type("".join(f"{row}\n" for row in rows))
        feeding.end_input()
        assert feeding.wait() == 0
        assert feeding.stdout == ["one", '{"two":2}']


def test_echo_of_more_than_can_be_shown_counts_the_rest(there: Lab) -> None:
    with there.mesh("echo", "spare/crowd", "--json") as looking:
        looking.wait_for(LOOKS)
        there.done("pub", "spare", "5000")
        looking.until(lambda: sum(row.get("skipped", 1) for row in objects(looking)) >= 5000)
        assert looking.stop() == 0
        assert looking.count("more came than could be shown") > 0
        rows = objects(looking)
        shown = [row["data"] for row in rows if "data" in row]
        assert len(shown) + sum(row.get("skipped", 0) for row in rows) == 5000
        assert 0 < len(shown) < 5000
        assert shown == sorted(shown)


def test_echo_ends_in_time_or_says_that_nothing_came(there: Lab) -> None:
    shown = there.done("echo", "echo", "-n", "2", "--timeout", "2s", code=124)
    assert shown.stdout == []
    assert shown.stderr == [
        "looking on at echo; Ctrl-C ends it",
        "Error: 0 of 2 rows came within 2 s",
    ]


def test_echo_of_a_node_that_is_down_unknown_or_ends(there: Lab) -> None:
    assert "ticker does not run" in there.done("echo", "ticker", code=4).stderr[0]
    assert "did you mean 'echo'?" in there.done("echo", "ecko", code=4).stderr[0]
    with lab() as other:
        echo = other.run("echo", "Echo")
        with other.mesh("echo", "echo") as looking:
            looking.wait_for(LOOKS)
            echo.stop()
            assert looking.wait() == 4
            assert looking.stderr[-1].startswith("Error: echo ")


def test_ping_ends_on_ctrl_c_without_blame(there: Lab) -> None:
    with there.mesh("ping", "echo", "-c", "50", "--interval", "1h") as ping:
        ping.wait_for("echo .* ms")
        assert ping.stop() == 0


def test_echo_ends_on_ctrl_c_and_leaves_no_tap_behind(there: Lab) -> None:
    for _ in range(9):  # one more than there may be at a time
        with there.mesh("echo", "echo") as looking:
            looking.wait_for(LOOKS)
            assert looking.stop(signal.SIGINT) == 0


def test_echo_fed_to_pub_gives_one_answer_for_each_message(there: Lab) -> None:
    with there.mesh("echo", "echo", "--json", "-n", "4") as looking:
        looking.wait_for(LOOKS)
        there.done("pub", "echo/echo", "one")  # which is published as well
        there.done("pub", "echo/echo", "two")
        assert looking.wait() == 0
        rows = looking.stdout
    assert [json.loads(row)["way"] for row in rows] == ["<", ">", "<", ">"]
    with there.mesh("pub", "echo", "--stdin", interactive=True) as feeding:
        feeding.type("".join(f"{row}\n" for row in rows))
        feeding.end_input()
        assert feeding.wait() == 0
        assert feeding.stdout == ["one", "two"]
        assert feeding.stderr == ["not sent: 2 publications; only what entered a handler (<) is"]


# -- frozen nodes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("echo", "echo", "--timeout", "500ms"),
        ("echo", "echo"),
        ("hz", "echo", "--once", "--window", "100ms"),
        ("wire", "echo", "--timeout", "500ms"),
        ("wire", "echo"),
    ],
    ids=" ".join,
)
def test_a_stream_of_a_frozen_node_says_that_it_is_frozen(
    nodes: tuple[Lab, Proc], words: tuple[str, ...]
) -> None:
    found, echo = nodes
    echo.send_signal(signal.SIGSTOP)
    try:
        done = found.done(*words, code=124)
    finally:
        echo.send_signal(signal.SIGCONT)
    assert done.stdout == []
    assert done.stderr == [
        f"Error: echo is stopped by a signal (pid {echo.pid}); `kill -CONT {echo.pid}` lets it go on"
    ]


def test_a_stream_of_a_node_that_is_killed_says_that_it_has_gone_away() -> None:
    with lab() as found:
        echo = found.run("echo", "Echo")
        with found.mesh("echo", "echo") as looking:
            looking.wait_for(LOOKS)
            echo.send_signal(signal.SIGKILL)
            assert looking.wait() == 4
            assert looking.stderr[-1] == f"Error: echo has gone away (pid {echo.pid} has ended)"


# -- hz --------------------------------------------------------------------------------------------


def test_hz_counts_everything(there: Lab) -> None:
    with there.mesh("hz", "spare/crowd", "--window", "300ms", "--json") as measuring:
        measuring.wait_for(LOOKS)
        there.done("pub", "spare", "5000")
        measuring.until(lambda: sum(row["count"] for row in objects(measuring)) >= 5000)
        assert measuring.stop() == 0
        rows = objects(measuring)
        assert {(row["node"], row["way"], row["channel"]) for row in rows} == {("spare", ">", "crowd")}
        assert sum(row["count"] for row in rows) == 5000
    once = there.done("hz", "spare/crowd", "--once", "--window", "100ms")
    assert (once.stdout, once.stderr[-1]) == ([], "nothing came within 0.1 s")


def test_hz_measures_so_many_times(there: Lab) -> None:
    shown = there.done("hz", "spare", "-n", "2", "--window", "100ms")
    assert shown.stdout == []
    assert shown.stderr == [
        "looking on at spare; Ctrl-C ends it",
        "nothing came within 0.1 s",
        "nothing came within 0.1 s",
    ]


def test_hz_of_all_that_run_here(there: Lab) -> None:
    with there.mesh("hz", "--window", "100ms") as measuring:
        measuring.wait_for("looking on at echo")
        measuring.wait_for("looking on at spare")
        there.done("pub", "echo/echo", "x", "-t", "5")
        measuring.wait_for(r"^< echo/echo  [\d.]+/s$")
        measuring.wait_for(r"^> echo/said  [\d.]+/s$")
        assert measuring.stop() == 0


# -- wire ------------------------------------------------------------------------------------------


def test_wire_shows_the_links_of_a_node_that_runs_and_those_that_begin(there: Lab) -> None:
    with there.mesh("wire", "echo") as looking:
        looking.wait_for(LOOKS)
        there.done("pub", "echo/echo", "hello wire")
        looking.wait_for(r"^\[ wire \] [\d:.]+ < .* Received data: \d+ B .*hello wire")
        looking.wait_for(r"^\[ wire \] [\d:.]+ > .* Sending data: \d+ B .*hello wire")
        assert looking.stop() == 0
        assert looking.stderr == ["looking on at echo; Ctrl-C ends it"]


def test_wire_ends_in_time_or_says_that_too_little_came(there: Lab) -> None:
    shown = there.done("wire", "spare", "-n", "2", "--timeout", "2s", code=124)
    assert shown.stdout == []
    assert shown.stderr == ["looking on at spare; Ctrl-C ends it", "Error: 0 of 2 lines came within 2 s"]


def test_wire_of_a_link_that_breaks_and_comes_back() -> None:
    with lab() as found:
        found.run("echo", "Echo")
        ticker = found.run("ticker", "Ticker")
        with found.mesh("wire", "echo") as looking:
            looking.wait_for(r"> .* Sending data")  # on the link that was there
            ticker.stop()
            looking.wait_for("Connection over")
            mark = looking.mark
            found.run("ticker", "Ticker")
            looking.wait_for(r"< .* Received data: .*ticker", since=mark)  # its first word on the new one
            looking.wait_for(r"< .* Received data: .*echo.*tick", since=mark)
            assert looking.stop() == 0


def test_wire_of_a_node_that_does_not_run_here(there: Lab) -> None:
    assert there.done("wire", "ticker", code=4).stdout == []
