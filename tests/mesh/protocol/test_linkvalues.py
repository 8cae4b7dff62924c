"""What a handler gets of a value that came over a link."""

from __future__ import annotations

import dataclasses
import datetime
import math
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import PayloadError
from mesh.protocol.linkvalues import all_as_plain, value_decoder

NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
MIXED = int | float | str | None


@dataclasses.dataclass
class Blob:
    data: bytes
    when: datetime.datetime = NOON


class Switch(Enum):
    ON = "on"


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_a_handler_that_takes_anything_gets_the_value_itself(value: Any) -> None:
    assert value_decoder(Any)(value) is value
    assert value_decoder(object)(value) is value


@given(st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4))
def test_what_is_inside_keeps_its_types(value: Any) -> None:
    def types(item: Any) -> Any:
        if isinstance(item, dict):
            return [(type(key), types(each)) for key, each in item.items()]
        return [types(each) for each in item] if isinstance(item, list) else type(item)

    decoded = value_decoder(type(value))(value)
    assert decoded == value
    assert types(decoded) == types(value)


@pytest.mark.parametrize("value", [{"x": math.inf}, {"t": NOON}, {1: 2}, {"b": b"bytes"}])
def test_a_dict_loses_nothing_that_json_has_not(value: Any) -> None:
    assert value_decoder(dict)(value) == value


def test_not_a_number_stays_one_inside() -> None:
    decoded: Any = value_decoder(list[float])([math.nan])
    assert math.isnan(decoded[0])


@pytest.mark.parametrize("value", ["5", "null", 5, 5.0, None])
def test_what_fits_as_it_is_is_not_read_again(value: Any) -> None:
    decoded = value_decoder(MIXED)(value)
    assert (decoded, type(decoded)) == (value, type(value))


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (int, "5", 5),
        (float, ".5", 0.5),
        (float, 2, 2.0),
        (bool, "1", True),
        (int | None, "null", None),
        (dict, '{"a":1}', {"a": 1}),
        (dict, b'{"a":1}', {"a": 1}),
        (dict[int, str], {"1": "a"}, {1: "a"}),
        (Literal["on"], "on", "on"),
        (Switch, "on", Switch.ON),
        (Blob, {"data": b"\xff", "when": NOON}, Blob(b"\xff")),
        (Blob, {"data": b"", "when": "2026-01-01T12:00:00Z"}, Blob(b"")),
        (bytes | None, b"x", b"x"),
        (tuple[int, str], [1, "a"], (1, "a")),
    ],
)
def test_a_value_becomes_what_the_annotation_says(annotation: object, value: Any, expected: Any) -> None:
    decoded = value_decoder(annotation)(value)
    assert (decoded, type(decoded)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (list[str], [b"x"], "field [0]: expected str, got bytes"),
        (Blob, {"data": "eA=="}, "field data: expected bytes, got str"),
        (Blob, {}, "object missing required field data"),
        (int, 1.5, "expected int, got float"),
        (int, True, "expected int, got bool"),
        (dict[str, int], {1: 2}, "a key of the message: expected str, got int"),
        (int, "five", "expected int, got str (and the text is no JSON)"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(annotation: object, value: Any, words: str) -> None:
    with pytest.raises(PayloadError) as caught:
        value_decoder(annotation)(value)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("value", "text"),
    [(5, "5"), (None, "null"), ({"a": [1]}, '{"a":[1]}'), ("x", "x"), ({(1, 2): 3}, "{(1, 2): 3}")],
)
def test_without_annotation_it_is_what_a_plain_websocket_gives(value: Any, text: str) -> None:
    assert value_decoder(None)(value) == text
    assert value_decoder(str | bytes)(value) == text
    assert value_decoder(str)(value) == text
    assert value_decoder(bytes)(value) == text.encode()
    assert all_as_plain(["a", value, b"c"]) == ["a", text, b"c"]


def test_a_type_that_no_value_can_become_is_a_type_error_at_once() -> None:
    with pytest.raises(TypeError):
        value_decoder(list[dict[Any, Any]] | list[int])
