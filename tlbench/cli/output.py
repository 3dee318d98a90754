"""Where commands write: results to standard output, all else to standard error."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.console import Console

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def print_json(value: Any) -> None:
    """Print a JSON-like value to standard output, for programs."""
    typer.echo(json.dumps(value, indent=2))
