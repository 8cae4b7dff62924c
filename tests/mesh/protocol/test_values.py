"""How values look on a plain websocket, and what handlers get back."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import PayloadError
from mesh.protocol.values import (
    NO_ANSWER,
    Refusal,
    Wire,
    answer_from_wire,
    answer_to_wire,
    is_one_item,
    message_decoder,
    message_to_wire,
    or_as_text,
    refusal_to_wire,
)


@dataclasses.dataclass
class Tone:
    pitch: int
    name: str = "beep"


class Chord(msgspec.Struct):
    root: Tone
    others: list[Tone] = []


class Switch(Enum):
    ON = "on"
    OFF = "off"


class Level(IntEnum):
    LOW = 0
    HIGH = 1


@dataclasses.dataclass
class Fussy:
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise KeyError("negative")


class Stubborn(Enum):
    A = "a"

    @classmethod
    def _missing_(cls, value: object) -> Stubborn:
        raise ZeroDivisionError("no such letter")


class Unknown:
    """No type that JSON could become."""


text = st.text()  # without surrogates
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=10,
)

# -- messages out --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "wire"),
    [
        ("buzz", "buzz"),
        ("", ""),
        ('{"not": "touched"}', '{"not": "touched"}'),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[::2], b"ac"),
        (1, "1"),
        (-0.5, "-0.5"),
        (1e100, "1e+100"),
        (2**70, str(2**70)),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (Decimal("1.50"), "1.50"),
        (Fraction(1, 3), "1/3"),
        (1 + 2j, "(1+2j)"),
        (True, "true"),
        (None, "null"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ([1, 2], "[1,2]"),
        (Tone(440), '{"pitch":440,"name":"beep"}'),
        (Chord(Tone(1)), '{"root":{"pitch":1,"name":"beep"},"others":[]}'),
        (Switch.ON, "on"),
        (Level.HIGH, "1"),
        ({"level": Level.HIGH, "switch": Switch.ON}, '{"level":1,"switch":"on"}'),
    ],
)
def test_a_message_on_the_wire(item: object, wire: Wire) -> None:
    assert message_to_wire(item) == wire
    assert type(message_to_wire(item)) is type(wire)


def _cycle() -> list[object]:
    inner: list[object] = []
    inner.append(inner)
    return inner


def _bomb(depth: int) -> list[object]:
    nested: list[object] = []
    for _ in range(depth):
        nested = [nested]
    return nested


@pytest.mark.parametrize("to_wire", [message_to_wire, answer_to_wire])
def test_what_json_has_not_is_written_as_text(to_wire: Callable[[object], Wire]) -> None:
    unknown = msgspec.msgpack.Ext(5, b"x")
    with pytest.raises(PayloadError):
        to_wire([unknown])
    assert or_as_text(to_wire, [unknown]) == str([unknown])
    assert or_as_text(to_wire, [1]) == "[1]"


@pytest.mark.parametrize("to_wire", [message_to_wire, answer_to_wire])
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: "half \ud83d", id="lone surrogate"),
        pytest.param(lambda: {"text": "half \ud83d"}, id="lone surrogate inside"),
        pytest.param(lambda: {"half \ud83d": 1}, id="lone surrogate in a key"),
        pytest.param(lambda: 10**5000, id="more digits than Python writes"),
        pytest.param(lambda: {"n": 10**5000}, id="more digits inside"),
        pytest.param(_cycle, id="cycle"),
        pytest.param(lambda: _bomb(100_000), id="nested bomb"),
        pytest.param(object, id="object"),
        pytest.param(lambda: {(1, 2): 3}, id="tuple as key"),
        pytest.param(lambda: (i for i in "ab"), id="generator"),
        pytest.param(lambda: Tone, id="class"),
    ],
)
def test_what_cannot_travel_is_a_payload_error(
    to_wire: Callable[[object], Wire], make: Callable[[], object]
) -> None:
    with pytest.raises(PayloadError, match=r"cannot be sent|cannot carry"):
        to_wire(make())


def test_a_payload_error_names_the_type_and_says_what_can_be_sent() -> None:
    with pytest.raises(
        PayloadError, match=r"a value of type Unknown cannot be sent .*; send text, bytes, a number"
    ):
        message_to_wire(Unknown())


@given(text | st.binary())
def test_text_and_bytes_travel_as_they_are(item: Wire) -> None:
    assert message_to_wire(item) == answer_to_wire(item) == item


@given(json_values)
def test_json_comes_back_as_it_was(value: object) -> None:
    wire = answer_to_wire([value])
    assert isinstance(wire, str)
    assert json.loads(wire) == [value]
    assert message_decoder(list)(message_to_wire([value])) == [value]


# -- what is one message ------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        "ab",
        "",
        b"ab",
        bytearray(b"a"),
        memoryview(b"a"),
        1,
        1.5,
        True,
        None,
        Decimal(1),
        {"a": 1},
        {},
        Tone(1),
        Chord(Tone(1)),
        Switch.ON,
        object(),
    ],
    ids=repr,
)
def test_one_item(data: object) -> None:
    assert is_one_item(data)


async def _numbers() -> Any:
    yield 1


@pytest.mark.parametrize(
    "data", [[1], (1,), {1}, range(3), iter("ab"), _numbers(), {"a": 1}.values(), Switch], ids=repr
)
def test_many_items(data: object) -> None:
    assert not is_one_item(data)


# -- answers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "wire"),
    [
        ("buzz buzz buzz", "buzz buzz buzz"),
        ("", ""),
        (None, "n/a"),
        (b"\x00", b"\x00"),
        (3, "3"),
        (True, "true"),
        ({"a": 1}, '{"a":1}'),
        ([None], "[null]"),
        (math.nan, "null"),  # JSON has no NaN
        (Tone(1), '{"pitch":1,"name":"beep"}'),
    ],
)
def test_an_answer_on_the_wire(answer: object, wire: Wire) -> None:
    assert answer_to_wire(answer) == wire


def test_no_answer_is_na() -> None:
    assert NO_ANSWER == "n/a"


def test_the_shape_of_a_refusal() -> None:
    wire = refusal_to_wire(Refusal("ValueError", 'no "such" tone\n'))
    assert json.loads(wire) == {"error": {"type": "ValueError", "message": 'no "such" tone\n'}}


@given(text, text)
def test_a_refusal_comes_back_as_it_was(type: str, message: str) -> None:
    refusal = Refusal(type, message)
    assert answer_from_wire(refusal_to_wire(refusal)) == refusal


@given(st.text(st.characters(categories=None)), st.text(st.characters(categories=None)))
def test_every_refusal_can_be_sent(type: str, message: str) -> None:
    wire = refusal_to_wire(Refusal(type, message))
    wire.encode("utf-8")
    assert isinstance(answer_from_wire(wire), Refusal)


def test_half_a_character_in_a_refusal_is_spelled_out() -> None:
    body = json.loads(refusal_to_wire(Refusal("E\ud800", "m\udfff")))["error"]
    assert body == {"type": "E\\ud800", "message": "m\\udfff"}


@pytest.mark.parametrize(
    "data",
    [
        "buzz",
        b'{"error":{"type":"a","message":"b"}}',  # refusals are text
        '{"error":"out of paper"}',
        '{"error":{"type":"a"}}',
        '{"error":{"type":1,"message":"b"}}',
        '{"error":{"type":"a","message":"b","more":1}}',
        '{"error":{"type":"a","message":"b"},"more":1}',
        '{"error":' * 100_000,
        '{"error":{"type":"a","message":"\\ud800"}}',
        '{"errors":{"type":"a","message":"b"}}',
        '[{"error":{"type":"a","message":"b"}}]',
        '{"error"',
    ],
    ids=lambda data: repr(data)[:40],
)
def test_what_only_looks_like_a_refusal_is_an_answer(data: Wire) -> None:
    assert answer_from_wire(data) == data


def test_a_handler_may_answer_with_an_error_of_its_own() -> None:
    answer = {"error": "out of paper"}
    assert answer_from_wire(answer_to_wire(answer)) == '{"error":"out of paper"}'


def test_a_handler_that_answers_exactly_a_refusal_has_refused() -> None:
    # The one shape that is taken: on a plain websocket nothing else could tell them apart.
    answer = {"error": {"type": "PaperError", "message": "out of paper"}}
    assert answer_from_wire(answer_to_wire(answer)) == Refusal("PaperError", "out of paper")


@given(text | st.binary())
def test_any_words_of_a_peer_are_an_answer_or_a_refusal(data: Wire) -> None:
    answer = answer_from_wire(data)
    assert answer == data or isinstance(answer, Refusal)


# -- messages in ------------------------------------------------------------------------

AS_IT_COMES = [None, Any, object, str | bytes, bytes | str]


@pytest.mark.parametrize("annotation", AS_IT_COMES, ids=repr)
@pytest.mark.parametrize("message", ["1", '{"a":1}', b"\xff"])
def test_without_a_type_a_message_comes_as_it_is(annotation: object, message: Wire) -> None:
    assert message_decoder(annotation)(message) == message


@pytest.mark.parametrize(
    ("annotation", "message", "value"),
    [
        (str, "1", "1"),
        (str, '"quoted"', '"quoted"'),
        (str, b"caf\xc3\xa9", "caf\xe9"),
        (bytes, b"\xff", b"\xff"),
        (bytes, "caf\xe9", b"caf\xc3\xa9"),
        (int, "5", 5),
        (int, b"5", 5),
        (int, " -5 ", -5),
        (int, "1.0", 1),
        (int, str(2**70), 2**70),
        (float, "1", 1.0),
        (float, "-2.5e3", -2500.0),
        (float, "inf", math.inf),
        (float, ".5", 0.5),
        (float, "-.25", -0.25),
        (float, "5.", 5.0),
        (float, "+1", 1.0),
        (bool, "true", True),
        (bool, "1", True),
        (bool, "0", False),
        (dict, '{"a":[1]}', {"a": [1]}),
        (dict[str, int], '{"a":1}', {"a": 1}),
        (dict[int, str], '{"1":"a"}', {1: "a"}),
        (list, "[1,null]", [1, None]),
        (list[int], b"[1,2]", [1, 2]),
        (tuple[int, str], '[1,"a"]', (1, "a")),
        (Tone, '{"pitch":440}', Tone(440)),
        (Tone, '{"pitch":440,"name":"buzz","unknown":1}', Tone(440, "buzz")),
        (Chord, '{"root":{"pitch":1},"others":[{"pitch":2}]}', Chord(Tone(1), [Tone(2)])),
        (Literal["on", "off"], "on", "on"),
        (Literal["on", "off"], '"off"', "off"),
        (Literal[0, 1], "1", 1),
        (Switch, "on", Switch.ON),
        (Switch, '"on"', Switch.ON),
        (Level, "1", Level.HIGH),
        (int | None, "null", None),
        (int | None, "5", 5),
        (str | None, "hello", "hello"),
        (int | str, "5", 5),
        (int | str, "five", "five"),
        (Decimal, "1.50", Decimal("1.50")),
        (Annotated[int, msgspec.Meta(ge=0)], "5", 5),
    ],
    ids=repr,
)
def test_a_typed_message_is_decoded(annotation: object, message: Wire, value: object) -> None:
    decoded = message_decoder(annotation)(message)
    assert decoded == value
    assert type(decoded) is type(value)


def test_not_a_number_is_a_float() -> None:
    decoded = message_decoder(float)("nan")
    assert isinstance(decoded, float)
    assert math.isnan(decoded)


@pytest.mark.parametrize(
    ("annotation", "message", "words"),
    [
        (int, "five", "expected int, got str (and the text is no JSON)"),
        (int, "", "expected int, got str (and the text is no JSON)"),
        (int, "true", "expected int, got bool"),
        (int, "1.5", "expected int, got float"),
        (int, '"5"', "expected int, got str"),
        (int, "9" * 5000, "out of range"),
        (int, b"\xff", "expected text, got 1 bytes that are not UTF-8"),
        (str, b"\xff\xfe", "expected text, got 2 bytes that are not UTF-8"),
        (float, "1e999", "out of range"),
        (bool, "2", "expected bool, got int"),
        (bool, "on", "the text is no JSON"),
        (dict, "[]", "expected object, got array"),
        (dict, b'{"a":"\xff"}', "expected text, got 9 bytes that are not UTF-8"),
        (dict[str, int], '{"a":"x"}', "field [...]: expected int, got str"),
        (dict[int, str], '{"a":"x"}', "a key of the message: expected int, got str"),
        (dict[str, dict[int, str]], '{"a":{"b":"x"}}', "a key of field [...]: expected int, got str"),
        (list[int], '[1,"a"]', "field [1]: expected int, got str"),
        (tuple[int, str], "[1]", "expected array of length 2"),
        (Tone, '{"pitch":"high"}', "field pitch: expected int, got str"),
        (Tone, "{}", "object missing required field pitch"),
        (Tone, "[]", "expected object, got array"),
        (Chord, '{"root":{"pitch":"x"}}', "field root.pitch: expected int, got str"),
        (Chord, '{"root":{}}', "field root: object missing required field pitch"),
        (Chord, '{"root":{"pitch":1},"others":[{"pitch":1},{"pitch":null}]}', "field others[1].pitch: "),
        (Literal["on", "off"], '"dim"', "invalid enum value 'dim'"),
        (Literal[0, 1], "2", "invalid enum value 2"),
        (Switch, '"dim"', "invalid enum value 'dim'"),
        (Level, "7", "invalid enum value 7"),
        (int | None, "n/a", "the text is no JSON"),
        (Annotated[int, msgspec.Meta(ge=0)], "-1", "expected int >= 0"),
        (list, "[" * 100_000, "the message is nested too deeply"),
        (dict, '{"a":' * 100_000, "the message is nested too deeply"),
        (Fussy, '{"number":-1}', "KeyError: 'negative'"),
        (Stubborn, "b", "the text is no JSON"),
        (Stubborn, '"b"', ""),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_message_that_does_not_fit_is_refused_with_its_field(
    annotation: object, message: Wire, words: str
) -> None:
    with pytest.raises(PayloadError) as caught:
        message_decoder(annotation)(message)
    assert words in str(caught.value)
    assert "`" not in str(caught.value)


@pytest.mark.parametrize(
    "annotation",
    [Unknown, complex, Callable, Iterator[int], 5, "Tone"],
    ids=repr,
)
def test_a_type_no_message_can_become_is_a_type_error_at_once(annotation: object) -> None:
    with pytest.raises(TypeError):
        message_decoder(annotation)


ANNOTATIONS = [int, float, bool, str, bytes, dict, list, Tone, Chord, Switch, Level, Fussy, Stubborn]
DECODERS = [message_decoder(annotation) for annotation in (*ANNOTATIONS, Literal["on"], int | None)]


@given(st.sampled_from(DECODERS), text | st.binary() | json_values.map(message_to_wire))
def test_no_message_makes_a_decoder_fail_but_with_a_payload_error(
    decode: Callable[[Wire], object], message: Wire
) -> None:
    with contextlib.suppress(PayloadError):
        decode(message)


@given(numbers)
def test_numbers_come_back_as_they_were(number: float) -> None:
    assert message_decoder(type(number))(message_to_wire(number)) == number


@given(st.booleans())
def test_booleans_come_back_as_they_were(value: bool) -> None:
    assert message_decoder(bool)(message_to_wire(value)) is value


@given(st.builds(Tone, st.integers(-(2**63), 2**63 - 1), text))
def test_dataclasses_come_back_as_they_were(tone: Tone) -> None:
    assert message_decoder(Tone)(message_to_wire(tone)) == tone


@given(st.sampled_from([*Switch, *Level]))
def test_enums_come_back_as_they_were(member: Enum) -> None:
    assert message_decoder(type(member))(message_to_wire(member)) is member
