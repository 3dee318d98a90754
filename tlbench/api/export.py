"""``tlbench.export``: writes the trained model of a cell into a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from tlbench.api.open_suite import as_path, open_suite, open_workspace
from tlbench.core.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from tlbench.api.open_suite import AnyPath, AnySuite
    from tlbench.core.cell import Cell
    from tlbench.core.record import Record
    from tlbench.export.export_cell import Exported, ExportOptions
    from tlbench.planning.prepare import PreparedSuite
    from tlbench.store.workspace import Workspace


def export(
    selector: str,
    to: AnyPath,
    *,
    refit: bool = False,
    calibrate: bool = False,
    onnx: bool = False,
    torch_export: bool = False,
    overwrite: bool = False,
    suite: AnySuite | None = None,
    workspace: AnyPath | None = None,
) -> Exported:
    """Write the trained model of a cell, or one fitted anew to all labels, into a folder for :func:`tlbench.load`.

    The model is trained once more in this process, with the seed and the settings of the cell, since weights are not
    kept with results; torch then uses the number of threads that the suite's ``resources`` give a cell.

    Args:
        selector: One model: ``"method=lora* shots=5 seed=0"``, or a cell's id.
        to: The folder to write.
        refit: Fit anew to all labels there are, the test's included.
        calibrate: Fit to folds for a calibrated confidence where no labels were held out.
        onnx: Write ONNX too (extra ``export``).
        torch_export: Write a program of ``torch.export`` too.
        overwrite: Replace an older export.
        suite: The suite of the cell, as :func:`tlbench.run` takes it; None is the file that it ran from. What ran from
            a dictionary has no file.
        workspace: Where results are kept; None is ``$TLBENCH_WORKSPACE``, else ``.tlbench`` in the working directory.

    Returns:
        What was written: ``folder``, the model's ``description``, and ``differences`` of other forms.

    Raises:
        UserError: The selector means no model or several, the folder is taken, the suite has no such cell any more, or
            the model cannot be exported.
    """
    from tlbench.export.export_cell import ExportOptions

    place = open_workspace(workspace)
    chosen = choose_result(selector, place, suite)
    options = ExportOptions(refit, calibrate, onnx, torch_export)
    return export_chosen(chosen, open_suite(chosen.suite, place), place, as_path(to), options, overwrite)


class ChosenResult(NamedTuple):
    """The result that a selector means.

    Attributes:
        record: The result.
        others: Results of the same setting with other seeds.
        suite: The suite that it belongs to.
    """

    record: Record
    others: list[Record]
    suite: AnySuite


def choose_result(selector: str, workspace: Workspace, suite: AnySuite | None = None) -> ChosenResult:
    """Find the result that a selector means, and its suite.

    Args:
        selector: See :func:`export`.
        workspace: Where results are kept.
        suite: The suite of the cell; None is the file that it ran from.

    Raises:
        UserError: The selector means no result or several, or the suite is not known.
    """
    from tlbench.planning.select_result import select_result, suite_file_of

    if not workspace.has_ledger:
        raise UserError(f"{workspace.root}: nothing has run here", "`tlbench run SUITE` first, or give --workspace")
    with workspace.ledger() as ledger:
        record, others = select_result(selector, ledger)
        return ChosenResult(record, others, suite_file_of(record, ledger) if suite is None else suite)


def export_chosen(
    chosen: ChosenResult,
    prepared: PreparedSuite,
    workspace: Workspace,
    to: Path,
    options: ExportOptions,
    overwrite: bool = False,
    on_fit: Callable[[], None] = lambda: None,
) -> Exported:
    """Write the model of a result.

    Args:
        chosen: The result.
        prepared: Its suite, opened.
        workspace: Where artifacts are kept.
        to: The folder to write.
        options: What to write.
        overwrite: Replace an older export.
        on_fit: Called before the model is trained.

    Raises:
        UserError: See :func:`export`.
    """
    record = chosen.record
    cell = _cell_of(record, prepared)
    from tlbench.export.export_cell import check_destination, check_exportable, export_cell
    from tlbench.worker.process import start_worker_process

    check_exportable(record, refit=options.refit)
    check_destination(to, overwrite=overwrite)
    device = "cuda" if record.provenance.get("device") == "cuda" and _has_gpu() else "cpu"
    on_fit()
    with _threads_as_before():
        resources = start_worker_process(workspace.artifacts.root, prepared.suite.resources, device=device, preload=())
        return export_cell(cell, record, chosen.others, resources, to, options)


@contextmanager
def _threads_as_before() -> Iterator[None]:
    """Give the process back the number of threads that it had: it may be a notebook's."""
    import torch

    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before, threads = {name: os.environ.get(name) for name in names}, torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})


def _cell_of(record: Record, prepared: PreparedSuite) -> Cell:
    """Return the cell of a suite that a result is of.

    Raises:
        UserError: The suite has none.
    """
    cell = next((each for each in prepared.plan.cells if each.id == record.id), None)
    if cell is None:
        where = prepared.named_at.rpartition(":")[0] or prepared.suite.name
        raise UserError(
            f"{where}: the suite has no cell {record.id} any more ({record.cell.label})",
            "its file or its data have changed: give the suite it ran from by --suite, or run it again",
        )
    return cell


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
