"""``mesh pub``, ``request`` and ``reply`` with nodes that run."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator

import pytest

from tests.helpers.lab import Lab, lab

pytestmark = pytest.mark.fleet


@pytest.fixture(scope="module")
def there() -> Iterator[Lab]:
    with lab() as found:
        found.run("echo", "Echo")
        found.run("ticker", "Ticker")
        yield found


# -- pub -------------------------------------------------------------------------------------------


def test_pub_prints_the_ack(there: Lab) -> None:
    shown = there.done("pub", "parrot/echo", "hello")
    assert (shown.stdout, shown.stderr) == (["hello"], [])
    assert there.done("pub", "echo/number", "2.5").stdout == ["5.0"]
    (row,) = there.rows("pub", "echo/number", "2.5", "--json")
    assert row == {"node": "echo", "channel": "number", "ack": 5.0}


def test_pub_sends_json_as_a_value_and_text_as_it_is_if_told(there: Lab) -> None:
    assert there.done("pub", "echo/echo", '{"a": [1, null]}').stdout == ['{"a":[1,null]}']
    assert there.done("pub", "echo/echo", "--text", "\x1b[31m").stdout == [r"\x1b[31m"]


def test_pub_again_and_again(there: Lab) -> None:
    assert there.done("pub", "echo/echo", "x", "-t", "3").stdout == ["x"] * 3
    with there.mesh("pub", "echo/echo", "x", "-r", "100") as going:
        going.wait_for("^x$")
        assert going.stop() == 0
        assert going.stderr == []


def test_pub_of_what_is_refused(there: Lab) -> None:
    shown = there.done("pub", "echo/number", "warm", code=1)
    assert shown.stdout == []
    assert shown.stderr[0].startswith("Error: echo refused the message: PayloadError: ")


def test_pub_to_a_channel_or_node_that_is_mistyped(there: Lab) -> None:
    shown = there.done("pub", "echo/nmber", "1", code=1)
    assert shown.stderr[-1] == "channel 'nmber', did you mean 'number'?"
    assert there.done("pub", "ecko/echo", "1", code=4).stderr == [
        "Error: unknown node 'ecko', did you mean 'echo'?"
    ]


def test_pub_to_a_node_that_is_down_or_takes_nothing(there: Lab) -> None:
    down = there.done("pub", "spare/echo", "1", "--timeout", "300ms", code=4)
    assert "spare is down: nobody listens there" in down.stderr[0]
    assert "ticker has no door" in there.done("pub", "ticker", "1", code=4).stderr[0]


def test_pub_that_gets_no_answer_in_time(there: Lab) -> None:
    shown = there.done("pub", "echo/slow", "30", "--timeout", "2s", code=124)
    # It says how long it has waited, which may be a little more.
    assert re.search(r"echo did not answer within \d+\.\d s ", shown.stderr[0])


def test_pub_is_called_wrongly(there: Lab) -> None:
    assert "give either DATA or --stdin" in there.done("pub", "echo", code=2).stderr[-1]


def test_pub_sends_each_line_of_standard_input(there: Lab) -> None:
    with there.mesh("pub", "echo/echo", "--stdin", interactive=True) as going:
        going.type("one\n")
        going.wait_for("^one$")  # before the input ends
        going.type('2\n{"at": 1}\n')
        going.end_input()
        assert going.wait() == 0
        assert going.stdout == ["one", "2", '{"at":1}']


def test_pub_sends_what_entered_handlers_and_tells_of_the_rest(there: Lab) -> None:
    rows = [
        {"at": "now", "node": "x", "way": "<", "peer": None, "channel": "echo", "data": "a"},
        {"at": "now", "node": "x", "way": ">", "peer": None, "channel": "said", "data": "a"},
        {"at": "now", "node": "x", "way": "=", "peer": None, "channel": "echo", "data": "an ack"},
        {"at": "now", "node": "x", "way": "<", "peer": None, "channel": "echo", "base64": "/w=="},
        {"node": "x", "skipped": 3},
        {"at": "now", "node": "x", "way": "<", "peer": None, "channel": "echo", "large": True},
    ]
    with there.mesh("pub", "echo", "--stdin", interactive=True) as going:
        going.type("".join(json.dumps(row) + "\n" for row in rows))
        going.end_input()
        assert going.wait() == 3
        assert going.stdout == ["a", "/w== (base64)"]
        assert going.stderr == [
            "not sent: 1 publication and 1 ack; only what entered a handler (<) is",
            "Error: 4 messages were left out of what came on standard input",
        ]


def test_pub_stops_at_a_broken_line_and_says_which(there: Lab) -> None:
    with there.mesh("pub", "echo/echo", "--stdin", interactive=True) as going:
        going.type('one\n{"at": 1, "no\nthree\n')
        going.end_input()
        assert going.wait() == 2
        assert going.stdout == ["one"]
        (told,) = going.stderr
        assert told.startswith('Error: line 2 of standard input begins as an object and is no JSON: {"at": 1')


# -- request ---------------------------------------------------------------------------------------


def test_request_prints_the_answer_or_its_parts(there: Lab) -> None:
    assert there.done("request", "echo/number", "4").stdout == ["8.0"]
    assert there.done("request", "echo/parts", "3").stdout == ["0", "1", "2"]
    assert there.rows("request", "echo/parts", "2", "--json") == [{"data": 0}, {"data": 1}]


def test_request_that_gets_no_answer_or_a_refusal(there: Lab) -> None:
    there.done("request", "echo/slow", "30", "--timeout", "200ms", code=124)
    assert there.done("request", "echo/number", "warm", code=1).stderr[0].startswith("Error: ")


# -- reply -----------------------------------------------------------------------------------------


def test_reply_stands_in_for_a_node(there: Lab) -> None:
    with there.mesh("reply", "spare", "fine", "-n", "1") as standing:
        standing.wait_for("serving on localhost")
        assert there.done("pub", "spare/echo", "hello").stdout == ["fine"]
        assert standing.wait() == 0
        assert standing.stdout == ["echo: hello -> fine"]
        assert all(line.startswith("[ spare ]") for line in standing.stderr)


def test_reply_with_the_message_or_what_a_command_prints() -> None:
    with lab() as found:
        with found.mesh("reply", "spare", "--echo", "--json") as standing:
            standing.wait_for("serving on localhost")
            assert found.done("pub", "spare/any/channel", '{"a": 1}').stdout == ['{"a":1}']
            assert standing.stop(signal.SIGTERM) == 0
            (row,) = standing.stdout
            assert json.loads(row) == {"node": "spare", "channel": "any/channel", "data": {"a": 1}}
        with found.mesh("reply", "spare", "--command", 'tr a-z A-Z; test "$CHANNEL" != no') as standing:
            standing.wait_for("serving on localhost")
            assert found.done("pub", "spare/x", "quiet; echo $HOME").stdout == ["QUIET; ECHO $HOME"]
            refused = found.done("pub", "spare/no", "x", code=1)
            assert "the command failed with exit code 1" in refused.stderr[0]


def test_reply_of_a_node_that_is_not_in_the_grid(there: Lab) -> None:
    assert "unknown node 'nobody'" in there.done("reply", "nobody", "x", code=4).stderr[0]
    assert "has no port" in there.done("reply", "ticker", "x", code=2).stderr[0]
    assert "give one of TEXT" in there.done("reply", "spare", code=2).stderr[-1]
