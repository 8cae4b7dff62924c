"""Who starts before whom."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from factory.fleet.order import circles, in_order, needs, waits_for, with_needs
from mesh.node import Node, Wire


def test_targets_and_sources_come_first() -> None:
    clock = Node("clock", target="blink")
    blink = Node("blink", port=1, subscribes=(Wire("bits", "buzzer"), Wire("more", "elsewhere")))
    buzzer = Node("buzzer", port=2)
    need = needs([clock, blink, buzzer])
    assert need == {"clock": {"blink"}, "blink": {"buzzer"}, "buzzer": frozenset()}
    assert in_order(need.keys(), need) == ["buzzer", "blink", "clock"]
    assert in_order({"clock", "buzzer"}, need) == ["buzzer", "clock"]
    assert with_needs(["blink"], need) == {"blink", "buzzer"}


def test_who_needs_each_other_in_a_circle_starts_together() -> None:
    need = {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset("a"), "d": frozenset("a")}
    assert circles(need) == [["a", "b", "c"], ["d"]]
    assert waits_for(need) == {"a": set(), "b": set(), "c": set(), "d": {"a"}}


def test_a_very_long_chain_is_no_trouble() -> None:
    need = {str(number): frozenset([str(number + 1)] if number < 5000 else []) for number in range(5001)}
    assert in_order(need.keys(), need)[0] == "5000"


names = st.sampled_from("abcdefgh")


@given(st.dictionaries(names, st.frozensets(names), min_size=1))
def test_nobody_waits_for_who_waits_for_them(drawn: dict[str, frozenset[str]]) -> None:
    need = {name: others & drawn.keys() - {name} for name, others in drawn.items()}
    order = in_order(need.keys(), need)
    assert sorted(order) == sorted(need)
    waits = waits_for(need)
    place = {name: index for index, name in enumerate(order)}
    for name, others in waits.items():
        assert all(place[other] < place[name] for other in others)
        # Left out is only who needs this one as well.
        for other in need[name] - others:
            assert name in with_needs([other], need)
