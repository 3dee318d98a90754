"""The command schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from looked_suite import suite

SUITES = Path(__file__).parents[2] / "suites"


def test_the_schema_admits_the_suites_that_exist_and_no_typo(command: Any, here: Path) -> None:
    from ruamel.yaml import YAML

    schema = json.loads(command("schema").out)
    check = jsonschema.Draft202012Validator(schema).validate
    jsonschema.Draft202012Validator.check_schema(schema)
    files = sorted(SUITES.glob("*.yaml"))
    assert files
    for path in files:
        check(YAML(typ="safe").load(path))
    for wrong in (suite(methods=["knm"]), suite(methods=[{"name": "knn", "params": {"kk": 1}}]), suite(ways=5)):
        with pytest.raises(jsonschema.ValidationError):
            check(wrong)
