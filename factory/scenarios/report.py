"""What became of a scenario, for people and as JUnit XML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from mesh.text import printable


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one scenario.

    Attributes:
        name: Its file.
        steps: How many steps it has.
        seconds: How long it took.
        failure: What was not as expected; ``None`` if all was.

    """

    name: str
    steps: int
    seconds: float
    failure: str | None

    def __str__(self) -> str:
        if self.failure is None:
            return printable(f"ok      {self.name}: {self.steps} steps, {self.seconds:.2f} s")
        return printable(f"FAILED  {self.name}: {self.failure}")


def junit_xml(outcomes: Sequence[Outcome]) -> bytes:
    """Return outcomes as JUnit XML, a test case for each."""
    failed = sum(outcome.failure is not None for outcome in outcomes)
    suite = ElementTree.Element(
        "testsuite",
        name="scenarios",
        tests=str(len(outcomes)),
        failures=str(failed),
        errors="0",
        skipped="0",
        time=f"{sum(outcome.seconds for outcome in outcomes):.3f}",
    )
    for outcome in outcomes:
        case = ElementTree.SubElement(
            suite, "testcase", classname="scenario", name=outcome.name, time=f"{outcome.seconds:.3f}"
        )
        if outcome.failure is not None:
            failure = printable(outcome.failure)
            ElementTree.SubElement(case, "failure", message=failure).text = failure
    text: str = ElementTree.tostring(suite, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()
