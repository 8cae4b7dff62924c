"""Scenarios: what is done to boards and what has to come of it, as a file.

.. code-block:: yaml

    board: uno
    steps:
      - mode: {2: INPUT_PULLUP}
      - press: key
      - expect-pin: {13: 1, within: 500ms}
      - release: key
      - expect-pulse: {13: 1, at-least: 90ms, at-most: 110ms, within: 2s}
      - expect-count: {13: 2, during: 1s}

Pins may be written as ``desk.13``, for another board than the scenario's own. Expectations read the
edge log since the last action began, so what happens between two looks is seen, and widths are those
of the board's own stamps: ``wait-pin`` is met by a moment, ``expect-pin`` by a pin that rests, for a
button that bounces makes a wrong program right for a moment. Where edges are missing in the log, a
step that needs them all fails.

``steps`` are the words, ``reading`` makes steps of a file, ``expecting`` judges what boards answer,
``running`` carries it out on ``boards``, and ``report`` tells what became of it.
"""

from factory.scenarios.boards import Boards, Connect
from factory.scenarios.reading import read_scenario
from factory.scenarios.report import Outcome, junit_xml
from factory.scenarios.running import ScenarioFailedError, carry_out
from factory.scenarios.steps import KINDS, Kind, Step

__all__ = [
    "KINDS",
    "Boards",
    "Connect",
    "Kind",
    "Outcome",
    "ScenarioFailedError",
    "Step",
    "carry_out",
    "junit_xml",
    "read_scenario",
]
