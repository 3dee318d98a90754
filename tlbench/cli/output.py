"""Where commands write: results to standard output, all else to standard error."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import typer
from rich.console import Console

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def replace_unknown_signs() -> None:
    """Let both streams print ``?`` for the signs that a terminal's encoding lacks, instead of failing on them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def print_json(value: Any) -> None:
    """Print a JSON-like value to standard output, for programs."""
    typer.echo(json.dumps(value, indent=2))
