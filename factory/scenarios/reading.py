"""From the bytes of a scenario to its steps, or to all of its mistakes."""

from __future__ import annotations

from factory.scenarios.steps import KINDS, TIMES, Kind, Step
from mesh.gridfile.problems import Mark, Place, Problems, shown
from mesh.gridfile.yaml_text import decode
from mesh.gridfile.yaml_tree import Mapping, Refused, Scalar, Sequence, Tree, parse
from mesh.text import did_you_mean, listing, seconds

_OTHERS = ("expect-pwm", "expect-servo", "expect-tone", "expect-analog")


def read_scenario(data: bytes, file: str) -> list[Step]:
    """Return the steps of a scenario.

    Args:
        data: The file.
        file: Its name, for the mistakes.

    Raises:
        GridError: If it is none: every mistake, with line and column.

    """
    problems = Problems(file)
    root = parse(decode(data, problems, what="scenario"), problems)
    if not isinstance(root, Mapping):
        problems.stop(root or Mark(1, 1), "no scenario", "write board: NAME and steps: with a list")
    entries = {key.text: (key, value) for key, value in root.entries}
    for word, (key, _) in entries.items():
        if word not in ("board", "steps"):
            near = did_you_mean(word, ("board", "steps"))
            problems.add(key, f"unknown field {shown(word)}{near}", "a scenario has board and steps")
    board = _text(entries["board"][1], problems) if "board" in entries else ""
    listed = entries["steps"][1] if "steps" in entries else None
    if not isinstance(listed, Sequence) or not listed.items:
        problems.stop(listed or root, "no steps", "write steps: and a list, each item with a - before it")
    steps = [step for item in listed.items for step in _step(item, board, problems)]
    problems.raise_if_any()
    return steps


def _step(item: Tree, board: str, problems: Problems) -> list[Step]:
    """Return one step, or none if there is a mistake in it, which is noted."""
    if not isinstance(item, Mapping) or len(item.entries) != 1:
        if not isinstance(item, Refused):
            problems.add(item, "no step", "write one word and what it is for, as in - press: key")
        return []
    [(key, value)] = item.entries
    word = key.text
    kind = KINDS.get(word)
    if kind is None:
        near = did_you_mean(word, KINDS)
        problems.add(key, f"unknown step {shown(word)}{near}", f"choose {listing(KINDS, 'or')}")
        return []
    if kind.check is None:
        name = _text(value, problems)
        if kind.target == "board":
            return _of_board(word, value, name or board, problems)
        return _of_target(Step(word, board, name, "", {}, value.line), value, kind, problems)
    return _with_value(key, kind, value, board, problems)


def _with_value(key: Scalar, kind: Kind, value: Tree, board: str, problems: Problems) -> list[Step]:
    word = key.text
    if not isinstance(value, Mapping):
        fix = f"write {{13: 1}}, the {kind.target} and its value, behind {word}:"
        problems.add(value, f"{word} of what?", fix)
        return []
    times: dict[str, float] = {}
    targets: list[tuple[Scalar, Tree]] = []
    for name, given in value.entries:
        if name.text in kind.times:
            times[name.text] = _time(given, problems)
        elif name.text in TIMES:
            known = listing(kind.times) or "no times"
            problems.add(name, f"{word} takes no {name.text}", f"it takes {known}")
        else:
            targets.append((name, given))
    if word == "expect-count" and "during" not in times:
        problems.add(key, "expect-count without a time", "add during: 1s, for which changes are counted")
    if times.get("at-least", 0.0) > times.get("at-most", float("inf")):
        problems.add(key, "a pulse of at-least more than at-most", "exchange the two")
    if len(targets) != 1:
        problems.add(key, f"{word} needs one {kind.target}, not {len(targets)}", "write a step for each")
        return []
    [(name, given)] = targets
    step = Step(word, board, name.text, _value(kind, word, given, problems), times, name.line)
    return _of_target(step, name, kind, problems)


def _value(kind: Kind, word: str, given: Tree, problems: Problems) -> str:
    if not isinstance(given, Scalar):
        return _text(given, problems)
    assert kind.check is not None
    try:
        return kind.check(given.text)
    except ValueError as exc:
        other = word in ("expect-pin", "wait-pin") and given.text.isdecimal()
        more = f"; for other values there are {listing(_OTHERS)}" if other else ""
        problems.add(given, f"{shown(given.text)} is no value for {word}", f"{exc}{more}")
        return ""


def _of_target(step: Step, place: Place, kind: Kind, problems: Problems) -> list[Step]:
    """Return a step with the board that is named before the dot, if one is."""
    own, dot, target = step.target.rpartition(".")
    if not target:
        problems.add(place, f"{step.kind} of what?", f"name a {kind.target} behind {step.kind}:")
        return []
    if not (own if dot else step.board):
        fix = f"name it: uno.{target}; or write board: uno above"
        problems.add(place, f"{shown(target)} of which board?", fix)
        return []
    if kind.target == "uart" and not (target.isascii() and target.isdecimal()):
        problems.add(place, f"{shown(target)} is no UART", "write its number: 0 is that of RX0 and TX0")
        return []
    return [Step(step.kind, own if dot else step.board, target, step.value, step.times, step.line)]


def _of_board(word: str, place: Place, board: str, problems: Problems) -> list[Step]:
    if not board:
        problems.add(place, f"{word} which board?", f"name it behind {word}:; or write board: uno above")
        return []
    return [Step(word, board, "", "", {}, place.line)]


def _text(tree: Tree, problems: Problems) -> str:
    if isinstance(tree, Scalar):
        return tree.text
    if not isinstance(tree, Refused):
        problems.add(tree, "more than one value", "write a single word or number here")
    return ""


def _time(tree: Tree, problems: Problems) -> float:
    try:
        return seconds(_text(tree, problems))
    except ValueError as exc:
        problems.add(tree, str(exc), "write it as 500ms or 2s")
        return 1.0
