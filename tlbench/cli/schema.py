"""The command ``schema``: the JSON Schema of suite files."""

from __future__ import annotations

from tlbench.cli.output import print_json


def schema() -> None:
    """Print the JSON Schema of suite files, for editors."""
    from tlbench.planning.catalog import full_catalog
    from tlbench.suite import json_schema

    print_json(json_schema.schema(full_catalog()))
