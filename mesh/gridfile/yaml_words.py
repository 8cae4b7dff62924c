"""Say in plain words what the YAML parser complains about."""

from __future__ import annotations

import re

import yaml

from mesh.gridfile.problems import Mark, shown

_QUOTE_IT = "put text with special characters in quotes"

# Pattern of the parser's own words; what is wrong; what would be right. The
# first that is found wins. `{0}` is the first group of the pattern.
_WORDS: tuple[tuple[str, str, str], ...] = (
    (r"found character '\\t'|but found '\\t'", "a tab", "indent and separate with spaces"),
    (r"found character '([`@%|>])'", "text cannot start with {0}", _QUOTE_IT),
    (
        r"quoted scalar.*(unexpected end of stream|document separator)",
        "this quote is never closed",
        "close it on the same line",
    ),
    (
        r"unknown escape character '(.+)'",
        "unknown escape \\{0}",
        "write \\\\ for a backslash, or use single quotes",
    ),
    (
        r"expected escape sequence",
        "an escape is cut short",
        "write \\\\ for a backslash, or use single quotes",
    ),
    (r"flow sequence.*<stream end>", "this [ is never closed", "close the list with ]"),
    (r"flow mapping.*<stream end>", "this {{ is never closed", "close the mapping with }}"),
    (
        r"flow sequence.*expected ',' or '\]'",
        "a list in [ ] is broken here",
        "separate items with , and close with ]",
    ),
    (
        r"flow mapping.*expected ',' or '}'",
        "a mapping in {{ }} is broken here",
        "separate with , and close with }}",
    ),
    (
        r"mapping values are not allowed",
        "a colon where no field can be",
        "align the line with its neighbours, and put text that holds `: ` in quotes",
    ),
    (
        r"sequence entries are not allowed",
        "a list item where none can be",
        "start the list on a line of its own",
    ),
    (r"could not find expected ':'", "a colon is missing", "write `name: value`"),
    (
        r"expected <block end>.*'-'",
        "a list item where a field should be",
        "align the line with its neighbours",
    ),
    (
        r"block collection.*expected <block end>",
        "a field where a list item should be",
        "start the line with `- `",
    ),
    (
        r"expected <block end>.*'(<scalar>|<anchor>|<alias>|<tag>)'",
        "text after the end of a value",
        _QUOTE_IT,
    ),
    (r"expected <block end>", "the indentation fits nothing above", "align the line with its neighbours"),
    (r"does not match any outer", "the indentation fits nothing above", "align the line with its neighbours"),
    (
        r"chomping or indentation|indentation indicator",
        "text after | or >",
        "start the text on the next line",
    ),
    (r"expected a comment or a line break", "text after | or >", "start the text on the next line"),
    (r"scanning an (alias|anchor)", "an {0} without a proper name", "anchors and aliases are not allowed"),
    (r"tag|URI", "a tag", "tags are not allowed; remove it, or put text that starts with ! in quotes"),
    (r"directive|incompatible YAML", "a directive", "directives are not allowed; remove the line with %"),
    (
        r"expected '<document start>'",
        "text after the end of the document",
        "a grid is one document; remove it",
    ),
    (r"mapping keys are not allowed", "a ? where no key can be", _QUOTE_IT),
    (
        r"flow node.*expected the node content.*<(stream|document)",
        "the grid ends within a list or a mapping",
        "close each [ with ] and each {{ with }}",
    ),
    (r"expected the node content.*<document", "a document mark where a value should be", "remove the line"),
    (r"expected the node content.*'(.)'", "{0} where a value should be", _QUOTE_IT),
)
# Errors that the parser notices at the far end of what is wrong.
_POINT_AT_START = re.compile(r"quoted scalar|<stream end>|could not find expected ':'")
_IPV6_IN_BRACKETS = re.compile(r"\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]")


def explain(error: yaml.YAMLError, text: str) -> tuple[Mark, str, str]:
    """Return where an error of the parser is, what is wrong and what would be right."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Mark(1, 1), "this is no YAML", "compare it with the examples in docs/reference/grid.md"
    words = f"{error.context or ''}: {error.problem or ''}"
    mark = error.problem_mark
    late = _POINT_AT_START.search(words) and "escape" not in words
    if late and error.context_mark is not None:
        mark = error.context_mark
    place = Mark(mark.line + 1, mark.column + 1)
    line = text.split("\n")[mark.line] if mark.line < text.count("\n") + 1 else ""
    address = _IPV6_IN_BRACKETS.search(line)
    if address and address.start() <= mark.column <= address.end():
        bare = address[0].strip("[]")
        return place, f"{shown(address[0])} starts a list", f"write an IPv6 address without brackets: {bare}"
    for pattern, what, fix in _WORDS:
        found = re.search(pattern, words)
        if found:
            groups = found.groups()
            return place, what.format(*groups), fix.format(*groups)
    return place, f"this is no YAML ({error.problem})", _QUOTE_IT
