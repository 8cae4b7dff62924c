"""The benchmark's soaks: at full speed, and with a receiver a hundred times slower, memory stays flat."""

from __future__ import annotations

import pytest

from benchmarks.goals import FLAT, OURS
from benchmarks.registry import BY_NAME
from benchmarks.rounds import Plan, run_soaks
from benchmarks.soak import ENDS, SOAKS
from tests.helpers.proc import DEADLINE
from tests.soak.limits import SOAK

pytestmark = SOAK


@pytest.mark.parametrize("name", list(SOAKS))
async def test_neither_end_grows(name: str, soak_seconds: float) -> None:
    seconds = soak_seconds / 2  # there are two of these
    plan = Plan(1, seconds, 2 * DEADLINE + 2 * seconds, quick=False, uvloop=True)
    results = await run_soaks([BY_NAME[OURS]], plan, print, [name])
    assert results.errors == {}

    figures: dict[str, float] = {}
    for figure, values in results.figures.items():
        (value,) = values[OURS]
        assert value is not None
        figures[figure] = value
    print(figures)
    assert figures[f"{name}_rate"] > 0
    assert max(figures[f"{name}_{end}_growth"] for end in ENDS) == figures[name] < FLAT
    if name == "soak_slow":
        # So it is the receiver that its sender waits for. It may be slower than a hundred times,
        # where others have the processor when its pause is over.
        assert figures["soak_slow_alone"] / figures["soak_slow_rate"] > 50
