"""A description of a cell: its stored form keeps the digests of earlier results, and it names what runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tlbench.core.cell import BackboneChoice, Cell, DatasetChoice, MethodChoice, ProtocolChoice, Setting, cell_id
from tlbench.core.description import DEFAULT_EXECUTION, CellDescription, Execution, Trial, shots_label
from tlbench.core.hashing import canonical
from tlbench.core.info import BackboneInfo, DatasetInfo
from tlbench.core.record import Cost, Record
from tlbench.core.segments import Segment

STORED: dict[str, Any] = {
    "id": "c" * 20, "protocol": "classification", "protocol_version": 1, "options": {}, "method": "lora",
    "method_label": "lora(rank=4)", "params": {"rank": 4}, "backbone": "conv4", "backbone_label": "conv4/random",
    "weights": "random", "backbone_key": "b" * 16, "recipe": {"name": "conv4", "weights": {"kind": "random"}},
    "dataset": "digits", "dataset_fingerprint": "d" * 16, "shots": 5, "seed": 0,
}  # fmt: skip
SEGMENTS = [[3, {"lr": 0.2}], [6, {"lr": 0.1}]]
TRIAL = {"setting": "s" * 20, "number": 7, "values": {"lr": 0.1}, "legs": SEGMENTS, "parent": 3}
WINNER = TRIAL | {"legs": [[9, {"lr": 0.1}]]}
COST = Cost(seconds=1, train_seconds=1, cpu_seconds=1, peak_memory=1, gpus=0, cpus=1, started=0)


def cell(execution: Execution = DEFAULT_EXECUTION) -> Cell:
    info = DatasetInfo("digits", "image", "d" * 16, ("a", "b"), (1, 8, 8), {"train": (9, 9)})
    backbone = BackboneInfo("conv4", "conv4", "image", "conv4/random", STORED["recipe"])
    setting = Setting(
        ProtocolChoice("classification", 1, {}), MethodChoice("lora", {"rank": 4}, "lora(rank=4)"),
        BackboneChoice(backbone, "b" * 16), DatasetChoice("digits", {}, info), 5,
    )  # fmt: skip
    return Cell(cell_id(setting, 0, execution=execution), *setting, 0, execution)


@pytest.mark.parametrize("more", [{}, {"trial": TRIAL}, {"found": WINNER}, {"shots": "full"}])
def test_what_was_stored_before_reads_and_writes_unchanged(more: dict[str, Any]) -> None:
    stored = STORED | more
    description = CellDescription.model_validate(stored)
    assert canonical(description.model_dump(mode="json")) == canonical(stored)
    record = Record(cell=description, status="done", cost=COST)
    again = Record.model_validate_json(record.model_dump_json())
    assert again == record
    assert again.digest == record.digest
    assert canonical(again.model_dump(mode="json")["cell"]) == canonical(stored)


def test_a_trial_is_read_with_its_segments() -> None:
    trial = CellDescription.model_validate(STORED | {"trial": TRIAL}).trial
    assert trial == Trial("s" * 20, 7, {"lr": 0.1}, (Segment(3, {"lr": 0.2}), Segment(6, {"lr": 0.1})), 3)
    assert trial is not None
    assert trial.to_json() == TRIAL


def test_labels() -> None:
    description = cell().describe()
    assert description.label == "lora(rank=4) | conv4/random | digits | 5 shots | seed 0"
    trial = CellDescription.model_validate(STORED | {"trial": TRIAL, "shots": 1})
    assert trial.label == "lora(rank=4) | conv4/random | digits | 1 shot | seed 0 | trial 7"
    assert [shots_label(shots) for shots in (0, 1, 2, "full")] == ["0 shots", "1 shot", "2 shots", "full"]


def test_precision_and_workers_make_other_cells_with_the_same_randomness() -> None:
    plain = cell()
    others = [cell(Execution("float32")), cell(Execution("bfloat16")), cell(Execution(workers=2))]
    assert len({plain.id, *(other.id for other in others)}) == 4
    assert {other.random_root for other in others} == {plain.id == plain.random_root and plain.id}
    assert [(each.describe().precision, each.describe().workers) for each in (plain, *others)] == [
        ("auto", 1), ("float32", 1), ("bfloat16", 1), ("auto", 2),
    ]  # fmt: skip
    stored = others[2].describe().model_dump(mode="json")
    assert stored["workers"] == 2
    assert "precision" not in stored
    assert "workers" not in plain.describe().model_dump(mode="json")


def test_a_raised_version_of_a_method_is_another_cell() -> None:
    one, two = (replace(cell().method, version=version) for version in (1, 2))
    assert one.key == canonical({"name": "lora", "params": {"rank": 4}}), "version 1 leaves keys as they were"
    assert one.key != two.key


def test_an_unknown_fact_is_refused() -> None:
    with pytest.raises(ValueError, match="flavour"):
        CellDescription.model_validate(STORED | {"flavour": "sweet"})
