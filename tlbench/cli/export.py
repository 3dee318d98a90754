"""The command ``export``: writes the trained model of a cell into a folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tlbench.api.export import choose_result, export_chosen
from tlbench.api.open_suite import open_workspace
from tlbench.cli.open_suite import open_suite
from tlbench.cli.options import WorkspacePath, as_path
from tlbench.cli.output import err, out

if TYPE_CHECKING:
    from tlbench.core.record import Record


def export(
    selector: Annotated[
        str, typer.Argument(metavar="SELECTOR", help='One model: "method=lora* shots=5 seed=0", or a cell\'s id.')
    ],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", parser=as_path, help="The folder to write.")],
    refit: Annotated[
        bool, typer.Option("--refit", help="Fit anew to all labels there are, the test's included.")
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Fit to folds for a calibrated confidence where no labels were held out."),
    ] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write ONNX too (extra export).")] = False,
    torch_export: Annotated[bool, typer.Option("--torch-export", help="Write a program of torch.export too.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older export.")] = False,
    suite: Annotated[
        Path | None,
        typer.Option(
            "--suite", metavar="FILE", parser=as_path, help="The suite of the cell.", show_default="where it ran"
        ),
    ] = None,
    workspace: WorkspacePath = None,
) -> None:
    """Write the trained model of a cell, or one fitted anew to all labels, into a folder for `tlbench predict`."""
    from tlbench.export.export_cell import ExportOptions

    place = open_workspace(workspace)
    chosen = choose_result(selector, place, suite)
    prepared = open_suite(chosen.suite, place)
    start = time.monotonic()
    options = ExportOptions(refit, calibrate, onnx, torch_export)
    exported = export_chosen(chosen, prepared, place, to, options, overwrite, lambda: _print_fit(chosen.record, refit))
    description = exported.description
    out.print(f"[bold]{escape(str(to))}[/]  {len(description.classes)} classes, {time.monotonic() - start:.3g} s")
    out.print(f"  the model of the result: {escape(description.provenance['agreement'])}")
    calibration = description.calibration
    said = f"temperature {calibration.temperature:.3g} by {calibration.examples} " if calibration.temperature else ""
    out.print(f"  confidence: {said}{escape(calibration.said)}")
    for name, difference in exported.differences.items():
        out.print(f"  {name}: logits differ from the original's by up to {difference:.2g}")
    example = "IMAGES" if description.modality == "image" else "TEXTS.csv"
    out.print(f"  tlbench predict {escape(str(to))} {example} --to answers.csv")


def _print_fit(record: Record, refit: bool) -> None:
    """Say what is trained, and why."""
    again = f"again, as weights are not kept with results; it took {record.cost.seconds:.3g} s"
    err.print(f"[bold]fitting[/] {escape(record.cell.label)} {'to all labels' if refit else again}")
