"""Values without quotes mean what every YAML reader says they mean, or are refused."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mesh.gridfile.scalars import Ambiguous, meaning


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("null", None),
        ("true", True),
        ("false", False),
        ("0", 0),
        ("-7", -7),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("0.6", 0.6),
        ("-1.50", -1.5),
        ("1.5e+3", 1500.0),
        ("buzz buzz buzz", "buzz buzz buzz"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("localhost:8766", "localhost:8766"),
        ("y", "y"),
        ("N", "N"),
        ("noon", "noon"),
        ("3rd", "3rd"),
        ("1.2.3", "1.2.3"),
        ("٣", "٣"),
        ("-", "-"),
    ],
)
def test_meaning(text: str, value: object) -> None:
    found = meaning(text)
    assert found == value
    assert type(found) is type(value)


WORDS = st.sampled_from(
    ["yes", "NO", "On", "oFF", "true", "NULL", "~", "y", ".inf", "-.nan", "=", "<<", "0x", "0o"]
)
ONE_LINE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12)
NUMBERS = st.text("0123456789abcdefx_+-.:eEoTZ ", max_size=12)


@given(st.one_of(NUMBERS, WORDS, ONE_LINE))
@example("1:20")
@example("2024-1-1")
@example("1_0.5")
def test_what_is_not_refused_means_the_same_to_pyyaml(text: str) -> None:
    """Two readers, one answer: ours and the YAML 1.1 rules of PyYAML."""
    assume(text not in {"!", "&", "*"})  # these cannot stand without quotes
    mine = meaning(text)
    if isinstance(mine, Ambiguous):
        assert mine.fix
        return
    tag = yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    names = {type(None): "null", bool: "bool", int: "int", float: "float", str: "str"}
    assert tag == f"tag:yaml.org,2002:{names[type(mine)]}"
    if not isinstance(mine, str):
        assert yaml.safe_load(f"- {text}") == [mine]
