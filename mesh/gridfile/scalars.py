"""What a value without quotes means.

The YAML versions disagree: ``NO``, ``08:30``, ``017`` and ``1e3`` are text to
one reader and false, a number of minutes or a number to another. The rules
here are the part on which YAML 1.1, YAML 1.2 and JSON agree; what is left is
refused, with both ways to write it. A value with quotes is always text.

==================  ============================================================
null                nothing at all, or ``null``
true, false         exactly these, in lower case
whole number        ``0``, ``42``, ``-7``: 64 bits, no ``+``, no leading zero
number              ``0.5``, ``-1.25``, ``1.5e+3``: digits on both sides of the dot
text                everything else that is not refused below
==================  ============================================================
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mesh.gridfile.problems import quoted, shown

Plain = None | bool | int | float | str

_WORDS: dict[str, Plain] = {"": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+([eE][-+][0-9]+)?")
_LONGEST = 64
_LEAST, _MOST = -(2**63), 2**63 - 1

# Pattern; what it could be besides text; how to write that, if it is wanted.
_AMBIGUOUS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern), what, fix)
    for pattern, what, fix in (
        (r"(?i:true|yes|on)", "true", "true"),
        (r"(?i:false|no|off)", "false", "false"),
        (r"(?i:null)|~", "null", "null"),
        (r"=|<<", "a YAML operator", ""),
        (r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?", "a number of minutes or seconds", "the number"),
        (r"[0-9]{4}-[0-9][0-9]?-[0-9][0-9]?([Tt \t].*)?", "a date", ""),
        (r"[-+]?0[xXoObB][0-9a-fA-F_]+", "a number", "the number in decimal"),
        (
            r"[-+]?0[0-9][0-9_]*(\.[0-9_]*)?",
            "an octal or a decimal number",
            "the number without leading zeros",
        ),
        (r"[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?", "a number", "the number without _"),
        (r"[-+]?[0-9][0-9_]*\.[0-9_]*_[0-9_]*", "a number", "the number without _"),
        (
            r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+",
            "a number",
            "the number as 1500.0 or 1.5e+3",
        ),
        (
            r"[-+]?\.[0-9][0-9_]*|[-+]?[0-9][0-9_]*\.",
            "a number",
            "the number with digits on both sides of the dot",
        ),
        (r"\+[0-9]+(\.[0-9]+)?", "a number", "the number without +"),
        (r"[-+]?\.(?i:inf)|\.(?i:nan)", "a number that JSON does not have", ""),
    )
)


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A plain scalar that two readers would read differently.

    Attributes:
        what: What is wrong.
        fix: What would be right.

    """

    what: str
    fix: str


def meaning(text: str) -> Plain | Ambiguous:
    """Return what a scalar without quotes means, or why that is not clear."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        # The length first: int() refuses thousands of digits with a ValueError.
        if len(text) > 20 or not _LEAST <= int(text) <= _MOST:
            return Ambiguous(
                f"{shown(text)} is too large for a number",
                "write a number of 64 bits, or put it in quotes if it is text",
            )
        return int(text)
    if _FLOAT.fullmatch(text):
        if len(text) > _LONGEST or not math.isfinite(float(text)):
            return Ambiguous(
                f"{shown(text)} is too long or too large for a number",
                "write fewer digits, or put it in quotes if it is text",
            )
        return float(text)
    for pattern, what, other in _AMBIGUOUS:
        if pattern.fullmatch(text):
            fix = f"write {quoted(text)} with quotes if it is text"
            return Ambiguous(
                f"{shown(text)} could be text or {what}", f"{fix}, or else {other}" if other else fix
            )
    return text
