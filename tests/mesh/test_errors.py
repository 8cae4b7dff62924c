"""The tree of errors: what each one also is, says and keeps."""

from __future__ import annotations

import re

import pytest

from mesh import errors
from mesh.errors import (
    AckTimeoutError,
    CertificateError,
    DeliveryError,
    FrameTooLargeError,
    GridError,
    GridProblem,
    LineTooLongError,
    LocalProtocolError,
    MeshError,
    NackedError,
    NameTakenError,
    NoReceiptError,
    NotAServerError,
    OutcomeUnknownError,
    PayloadError,
    PeerDownError,
    ProtocolError,
    RemoteProtocolError,
    RingError,
    RingLeftError,
    ServeError,
    UnknownNodeError,
    VersionMismatchError,
)

TREE: dict[type[MeshError], tuple[type[BaseException], ...]] = {
    GridError: (MeshError, ValueError),
    UnknownNodeError: (GridError, LookupError),
    NotAServerError: (GridError,),
    ProtocolError: (MeshError,),
    LocalProtocolError: (ProtocolError,),
    RemoteProtocolError: (ProtocolError,),
    DeliveryError: (MeshError,),
    NackedError: (DeliveryError,),
    AckTimeoutError: (DeliveryError, TimeoutError),
    OutcomeUnknownError: (DeliveryError,),
    PeerDownError: (DeliveryError, ConnectionError),
    NameTakenError: (DeliveryError, ConnectionError),
    VersionMismatchError: (DeliveryError, ConnectionError),
    FrameTooLargeError: (DeliveryError, ValueError),
    RingError: (MeshError,),
    NoReceiptError: (RingError, TimeoutError),
    RingLeftError: (RingError, ConnectionError),
    PayloadError: (MeshError, ValueError),
    LineTooLongError: (MeshError, ValueError),
    CertificateError: (MeshError, ValueError),
    ServeError: (MeshError, OSError),
}


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_each_error_is_also_the_builtin_one_would_guess(error: type[MeshError]) -> None:
    assert error.__bases__ == TREE[error]


def test_the_tree_is_complete() -> None:
    found = {
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, MeshError)
    }
    assert found == {MeshError, *TREE}


def test_the_module_text_draws_the_tree() -> None:
    drawn = re.findall(r"^ {2,}(\w+Error)", errors.__doc__ or "", re.MULTILINE)
    assert set(drawn) == {"MeshError", *(error.__name__ for error in TREE)}


@pytest.mark.parametrize(
    ("error", "facts"),
    [
        (GridError("broken", [GridProblem("grid.yaml", 1, 2, "a", "b")]), {"problems"}),
        (UnknownNodeError("buzer", "no such node", suggestion="buzzer"), {"name", "suggestion"}),
        (NotAServerError("clock"), {"name"}),
        (DeliveryError("buzzer", "refused"), {"peer"}),
        (NackedError("buzzer", "ValueError", "no such tone"), {"peer", "type", "reason", "acks"}),
        (PeerDownError("buzzer", "ws://localhost:1/", 1.25, "nobody"), {"peer", "waited"}),
        (NameTakenError("buzzer", "ws://localhost:1/", "taken"), {"peer", "reason", "transmitted"}),
        (VersionMismatchError("buzzer", "ws://localhost:1/", "1, 2"), {"peer", "reason", "transmitted"}),
        (FrameTooLargeError(10, 5), {"peer", "acks", "size", "limit"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_facts_are_attributes(error: MeshError, facts: set[str]) -> None:
    assert facts <= set(vars(error))


def test_an_error_of_the_os_family_keeps_its_whole_message() -> None:
    # With two arguments OSError takes the first for an errno and drops the rest of the words.
    down = PeerDownError("buzzer", "ws://localhost:8766/", 1.26, "nobody listens there")
    assert str(down) == (
        "buzzer could not be reached at ws://localhost:8766/ within 1.3 s (nobody listens there); "
        "is it running? start it, or correct its host and port in the grid"
    )
    assert down.errno is None
    assert str(ServeError("port taken")) == "port taken"


def test_a_refusal_quotes_the_peer() -> None:
    nacked = NackedError("buzzer", "ValueError", "no such tone")
    assert str(nacked) == "buzzer refused the message: ValueError: no such tone"
    assert (nacked.peer, nacked.type, nacked.reason, nacked.acks) == (
        "buzzer",
        "ValueError",
        "no such tone",
        [],
    )


def test_refusals_do_not_share_their_acks() -> None:
    one, other = (NackedError("buzzer", "ValueError", "") for _ in range(2))
    one.acks.append("...")
    assert other.acks == []


def test_a_problem_is_written_as_compilers_write_them() -> None:
    problem = GridProblem("grid.yaml", 12, 7, "port is 'x'", "write a number")
    assert str(problem) == "grid.yaml:12:7: port is 'x'; write a number"


def test_the_problems_of_a_grid_cannot_change_afterwards() -> None:
    problems = [GridProblem("grid.yaml", 1, 1, "a", "b")]
    error = GridError("broken", problems)
    problems.clear()
    assert len(error.problems) == 1
    assert GridError("unreadable").problems == ()


def test_a_node_without_a_port_says_what_to_do() -> None:
    assert "'clock' has no port" in str(NotAServerError("clock"))
    assert "`port:`" in str(NotAServerError("clock"))
