"""The JSON Schema that editors use agrees with the reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import mesh.gridfile.schema
from mesh.gridfile import parse_grid
from mesh.gridfile.schema import schema, text
from tests.mesh.gridfile.valid import VALID

SHIPPED = Path(mesh.gridfile.schema.__file__).with_name("grid.schema.json")
ROOT_GRID = Path(mesh.gridfile.schema.__file__).parents[2] / "grid.yaml"


def test_the_shipped_schema_is_the_generated_one() -> None:
    assert SHIPPED.read_text("utf-8") == text(), (
        "run: python -m mesh.gridfile.schema > mesh/gridfile/grid.schema.json"
    )


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


def test_every_field_is_explained_and_no_other_is_allowed() -> None:
    for definition in schema()["$defs"].values():
        assert definition["description"]
        assert definition["additionalProperties"] is False
        for field in definition["properties"].values():
            assert field["description"].endswith(".")


@pytest.mark.parametrize("valid", [ROOT_GRID.read_text("utf-8"), *VALID])
def test_what_the_reader_takes_the_schema_takes(valid: str) -> None:
    parse_grid(valid.encode())
    value: Any = yaml.safe_load(valid)
    jsonschema.validate(value, json.loads(SHIPPED.read_text("utf-8")), jsonschema.Draft202012Validator)


def test_the_root_grid_names_the_schema_for_editors() -> None:
    first = ROOT_GRID.read_text("utf-8").splitlines()[0]
    prefix, _, path = first.partition("$schema=")
    assert prefix == "# yaml-language-server: "
    assert (ROOT_GRID.parent / path).samefile(SHIPPED)
