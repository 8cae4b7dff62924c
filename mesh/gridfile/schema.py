"""The JSON Schema of a grid, made from the model, so that editors complete it.

``python -m mesh.gridfile.schema > mesh/gridfile/grid.schema.json`` renews the
shipped copy; a test fails when the two differ.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec

from mesh.gridfile.model import GridFile


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a grid.

    It knows each field by itself. What only the whole grid shows, such as two
    nodes on one port, is left to the reader.
    """
    made = msgspec.json.schema(GridFile)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "grid.yaml of sketchmesh",
        **made,
    }


def text() -> str:
    """Return the schema as the file that is shipped."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
