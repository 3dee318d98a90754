"""The command ``predict``: answers of an exported model, as a table."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer
from rich.markup import escape

from tlbench.cli.options import as_path
from tlbench.cli.output import err
from tlbench.core.errors import UserError

if TYPE_CHECKING:
    from tlbench.inference.inputs import Unreadable
    from tlbench.inference.model import Prediction

_HEADER = ("name", "label", "probability", "confidence")
_SHOWN = 20


def predict(
    model: Annotated[Path, typer.Argument(metavar="DIR", parser=as_path, help="What `tlbench export` wrote.")],
    inputs: Annotated[
        Path,
        typer.Argument(
            metavar="INPUTS", parser=as_path, help="An image, a folder or zip of images; a table or file of texts."
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE.csv", parser=as_path, help="Where to write.", show_default="the terminal"),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Inputs computed together.")] = 64,
    text_column: Annotated[str, typer.Option("--text-column", help="The column with the texts.")] = "text",
    device: Annotated[
        str | None, typer.Option("--device", help="cpu or cuda.", show_default="a GPU where there is one")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Write a table with the class of each input, its probability, and a calibrated confidence."""
    if to is not None and to.exists() and not overwrite:
        raise UserError(f"{to}: is there already", "give another name, or --overwrite")
    from tlbench.inference.model import load_model

    loaded = load_model(model, device)
    unreadable: list[Unreadable] = []
    count = [0]
    answers = _counted(loaded.answers(inputs, unreadable, batch_size=batch_size, text_column=text_column), count)
    if to is None:
        _write(answers, sys.stdout)
    else:
        from tlbench.store.atomic_write import write_file

        write_file(to, lambda stream: _write_bytes(answers, stream))
        err.print(f"[bold]{escape(str(to))}[/]  {count[0]} answers")
    if loaded.description.calibration.temperature is None:
        err.print(f"[yellow]note[/] no confidence: {escape(loaded.description.calibration.said)}")
    if unreadable:
        for each in unreadable[:_SHOWN]:
            err.print(f"[yellow]passed over[/] {escape(each.name)}: {escape(each.reason)}")
        more = f", {len(unreadable) - _SHOWN} of them not shown" if len(unreadable) > _SHOWN else ""
        err.print(f"{len(unreadable)} of {count[0] + len(unreadable)} inputs were passed over{more}")
        raise typer.Exit(1)


def _counted(answers: Iterable[Prediction], count: list[int]) -> Iterator[Prediction]:
    for answer in answers:
        count[0] += 1
        yield answer


def _write_bytes(answers: Iterable[Prediction], stream: BinaryIO) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    _write(answers, text)
    text.flush()
    text.detach()


def _write(answers: Iterable[Prediction], stream: io.TextIOBase | object) -> None:
    table = csv.writer(stream, lineterminator="\n")  # type: ignore[arg-type]
    answers = iter(answers)
    first = next(answers, None)  # before anything is written: an error about the inputs leaves no header behind
    table.writerow(_HEADER)
    for each in [] if first is None else [first]:
        table.writerow(_row(each))
    for each in answers:
        table.writerow(_row(each))


def _row(answer: Prediction) -> tuple[str, str, str, str]:
    confidence = "" if answer.confidence is None else f"{answer.confidence:.6f}"
    return answer.name, answer.label, f"{answer.probability:.6f}", confidence
