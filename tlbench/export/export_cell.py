"""Writes the model of a cell into a folder, and makes sure that what was written answers as the cell did."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import tlbench
from tlbench.backbones.catalog import architecture
from tlbench.core.cell import Cell
from tlbench.core.errors import UserError
from tlbench.core.hashing import sha256
from tlbench.core.record import Record
from tlbench.data.dataset import TEST
from tlbench.export import forms
from tlbench.export.fit_again import FittedCell, fit_again, largest_difference
from tlbench.export.licences import NOT_STATED, weights_licence
from tlbench.export.model_card import model_card
from tlbench.export.plain_network import PlainNetwork, plain_network, token_columns
from tlbench.export.small_difference import write_difference
from tlbench.inference.description import (
    CARD,
    DESCRIPTION,
    FORMAT,
    TOKENIZER,
    WEIGHTS,
    Description,
    ImageReading,
    TextReading,
)
from tlbench.inference.network import build_network
from tlbench.store.atomic_write import write_folder
from tlbench.worker.provenance import machine_facts
from tlbench.worker.worker_resources import WorkerResources

_CHECKED = 16  # real inputs that other forms are checked on
_VERSIONS = ("tlbench", "torch", "torchvision", "timm", "transformers", "tokenizers", "numpy", "python")
_AGREE = {
    "bits": "yes: its test logits are those of the result bit for bit",
    "answers": "nearly: every test answer is that of the result, logits differ in their last bits",
    "none": "no: fitted to other labels",
}


@dataclass(frozen=True)
class ExportOptions:
    """What to write beside the model.

    Attributes:
        refit: Fit anew to all labels.
        calibrate: Fit to folds for a temperature where no labels were held out.
        onnx: Write ONNX.
        torch_export: Write what ``torch.export`` makes.
    """

    refit: bool = False
    calibrate: bool = False
    onnx: bool = False
    torch_export: bool = False


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: Where.
        description: Of the model.
        differences: Largest difference of logits of each other form, by file name.
    """

    folder: Path
    description: Description
    differences: dict[str, float]

    def __repr__(self) -> str:
        return f"<Exported {self.folder}, {len(self.description.classes)} classes>"


def check_exportable(record: Record, *, refit: bool = False) -> None:
    """Refuse results that no model stands behind.

    Args:
        record: The result of a cell.
        refit: Whether the model is to be fitted anew to all labels.

    Raises:
        UserError: The cell failed, is one of episodes, or of an adaptation, whose labels are not all to be fitted to.
    """
    cell = record.cell
    if record.status != "done" or record.outcome is None:
        raise UserError(f"{cell.label}: has failed: there is no model of it", "`tlbench cell ID` says why")
    if cell.protocol not in ("classification", "adaptation"):
        raise UserError(
            f"{cell.label}: models of {cell.protocol!r} are fitted anew to every episode, and know no classes of their "
            "own",
            "run finetune, nearest_centroid or knn on your classes in a grid of protocol: classification",
        )

    if refit and cell.protocol != "classification":
        raise UserError(
            f"{cell.label}: an adaptation is not fitted to all labels: its target has none by definition",
            "export without --refit, or refit a cell of protocol: classification on the target",
        )


def check_destination(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds something.

    Raises:
        UserError: It is there and not empty, and is not to be overwritten, or is no exported model; or its parent is
            missing.
    """
    if not folder.parent.is_dir():
        raise UserError(f"{folder}: there is no folder {folder.parent}", "make it first")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"{folder}: is no folder", "give another place")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise UserError(f"{folder}: is not empty", "give another place, or --overwrite if it is an older export")
        if not (folder / DESCRIPTION).is_file():
            raise UserError(f"{folder}: is no exported model, and is not overwritten", "give another place")


def export_cell(
    cell: Cell,
    record: Record,
    others: Sequence[Record],
    resources: WorkerResources,
    folder: Path,
    options: ExportOptions,
) -> Exported:
    """Train the model of a cell, write it, and compare what was written with it.

    Args:
        cell: A cell of a grid.
        record: Its result.
        others: Results of the same setting with other seeds.
        resources: This process, and what it keeps.
        folder: Where to write; an older export there is replaced once the new one is whole.
        options: What to write.

    Raises:
        UserError: The model cannot be exported, is not that of the result, or cannot be written in a form.
    """
    check_exportable(record, refit=options.refit)
    fitted = fit_again(cell, record, resources, refit=options.refit, calibrate=options.calibrate)
    plain = plain_network(fitted.fitted, cell.method.name)
    description = _description(cell, record, fitted, plain, resources)
    differences: dict[str, float] = {}
    written: list[Description] = []

    def fill(draft: Path) -> None:
        save_file(plain.state, draft / WEIGHTS, {"format": "pt"})
        network = _checked_network(draft, description, fitted)
        files = {
            WEIGHTS: "the weights",
            DESCRIPTION: "architecture, preprocessing, classes, calibration and provenance",
        }
        tokenizer = resources.tokenizer(cell.backbone, cell.dataset)
        if tokenizer is not None:
            (draft / TOKENIZER).write_text(tokenizer, encoding="utf-8")
            files[TOKENIZER] = "the tokeniser, of the library tokenizers"
        files |= write_difference(fitted.fitted, draft)
        differences.update(_write_forms(network, fitted, draft, options))
        files |= {name: f"{_FORMS[name]}; logits differ by up to {value:.2g}" for name, value in differences.items()}
        files[CARD] = "this card"
        whole = description.model_copy(update={"weights": sha256(draft / WEIGHTS), "files": files})
        written.append(whole)
        text = json.dumps(whole.model_dump(mode="json"), ensure_ascii=False, indent=1)
        (draft / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
        (draft / CARD).write_text(model_card(whole, record, others), encoding="utf-8")

    _replace(folder, fill)
    return Exported(folder, written[0], differences)


_FORMS = {
    forms.ONNX: "ONNX, from prepared inputs on",
    forms.PROGRAM: "a program of torch.export, from prepared inputs on",
}


def _checked_network(draft: Path, description: Description, fitted: FittedCell) -> nn.Module:
    """Return the network that a folder's weights make, once it has answered as the fitted one does."""
    network = build_network(description, load_file(draft / WEIGHTS))
    difference = largest_difference(fitted, network, token_columns(fitted.fitted))
    if difference:
        raise UserError(
            f"{description.backbone['label']}: its network answers otherwise once it has been built from its weights "
            f"(logits differ by up to {difference:.3g}), and is not exported",
            "choose another backbone, or tell its authors",
        )
    return network.cpu()


def _description(
    cell: Cell, record: Record, fitted: FittedCell, plain: PlainNetwork, resources: WorkerResources
) -> Description:
    info = cell.backbone.info
    shown = replace(info, name=str(info.recipe["name"])) if architecture(info) is not None else info
    assert record.outcome is not None
    refit = fitted.agreement == "none"
    return Description(
        format=FORMAT,
        tlbench=tlbench.__version__,
        modality="text" if info.modality == "text" else "image",
        classes=cell.dataset.info.classes,
        backbone=asdict(shown),
        architecture=architecture(info),
        network=plain.description,
        images=_image_reading(cell) if info.modality == "image" else None,
        texts=_text_reading(cell) if info.modality == "text" else None,
        calibration=fitted.calibration,
        weights="",
        scores={} if refit else record.outcome.scores,
        provenance={
            "cell": record.id,
            "label": record.cell.label,
            "method": cell.method.name,
            "params": record.cell.params,
            "chosen": record.outcome.selected,
            "protocol": cell.protocol.name,
            "options": cell.protocol.options,
            "dataset": cell.dataset.info.name,
            "dataset_fingerprint": cell.dataset.info.fingerprint,
            "shots": cell.shots,
            "seed": cell.seed,
            "fitted_to": "all labels" if refit else "those of the cell",
            "labels": fitted.labels,
            "agreement": _AGREE[fitted.agreement],
            "test_logits": record.outcome.logits,
            "weights_licence": weights_licence(cell.backbone),
            "data_licence": NOT_STATED,
            "versions": {name: text for name, text in machine_facts().items() if name in _VERSIONS},
            "device": resources.device.type,
        },
    )


def _image_reading(cell: Cell) -> ImageReading:
    given, shape = cell.dataset.params, cell.dataset.info.shape
    return ImageReading(
        shape=(shape[0], shape[1], shape[2]),
        image_size=given.get("image_size") if cell.dataset.name == "folder" else None,
        invert=bool(given.get("invert", False)) and cell.dataset.name == "folder",
    )


def _text_reading(cell: Cell) -> TextReading:
    recipe = cell.backbone.info.recipe
    return TextReading(length=recipe["max_length"], pad=recipe["vocabulary"]["pad"])


def _write_forms(network: nn.Module, fitted: FittedCell, draft: Path, options: ExportOptions) -> dict[str, float]:
    if not (options.onnx or options.torch_export):
        return {}
    rows, columns = fitted.dataset.rows(TEST)[:_CHECKED], token_columns(fitted.fitted)
    raw: Any = np.ascontiguousarray(np.asarray(fitted.dataset.x[rows]))  # type: ignore[call-overload]
    x: Tensor = forms.prepared_inputs(network, raw if columns is None else raw[:, columns])
    writers: list[tuple[bool, str, Callable[[nn.Module, Tensor, Path], float]]] = [
        (options.torch_export, forms.PROGRAM, forms.write_program),
        (options.onnx, forms.ONNX, forms.write_onnx),
    ]
    return {name: write(network, x, draft / name) for wanted, name, write in writers if wanted}


def _replace(folder: Path, fill: Callable[[Path], None]) -> None:
    """Write a folder; one that is there is put aside first, and put back if writing fails."""
    folder = folder.absolute()
    aside = folder.with_name(f".{folder.name}.old")
    made: list[Path] = []

    def whole(draft: Path) -> None:
        fill(draft)
        if folder.is_dir():  # from here on only renaming is left
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
            made.append(aside)

    try:
        write_folder(folder, whole)
    except BaseException:
        if made and not folder.exists():
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)
