"""Which labels of the target count as read before adaptation begins: in a pre-training, in a source, and as shots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_suites import PLAIN

from tlbench.core.cell import task_info
from tlbench.core.errors import UserError
from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import TRAIN
from tlbench.planning.prepare import prepare
from tlbench.protocols.adaptation import draw
from tlbench.store.artifacts import Artifacts

SCRIPTS = {"name": "glyphs", "scripts": ["armenian"]}
FACES = {side: {**SCRIPTS, "domain": face} for side, face in (("source", "DejaVuSans"), ("target", "DejaVuSerif"))}


@pytest.fixture
def dom(tmp_path: Path) -> dict[str, str]:
    """A folder of two domains with two classes of six images each, all different."""
    shade = 0
    for place in ("paint", "photo"):
        for kind in ("cat", "dog"):
            folder = tmp_path / "dom" / place / kind
            folder.mkdir(parents=True)
            for number in range(6):
                shade += 5
                Image.fromarray(np.full((16, 16), shade, np.uint8)).save(folder / f"{number}.png")
    return {"name": "folder", "path": str(tmp_path / "dom")}


def paired(dataset: dict[str, Any], source: str = "paint", target: str = "photo") -> dict[str, Any]:
    return {"source": {**dataset, "domain": source}, "target": {**dataset, "domain": target}}


def refused(
    tmp_path: Path, decoded: Path, corpus: Any, dataset: Any, protocol: str = "adaptation", shots: Any = (0, "full")
) -> dict[Any, str]:
    """Return the shots at which a backbone pre-trained on a corpus is no starting point, and why."""
    methods = {"adaptation": "source_only", "classification": "linear_probe"}
    grid = {
        "protocol": protocol,
        "methods": [methods[protocol]],
        "backbones": [{**PLAIN, "pretrain": {"method": "supervised", "dataset": corpus}}],
        "datasets": [dataset],
        "shots": list(shots),
        "seeds": 1,
    }
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps({"name": "labels", "grids": [grid]}))
    plan = prepare(path, Artifacts(decoded)).plan
    assert len(plan.cells) + len(plan.not_applicable) == len(shots)
    return {entry.shots: entry.reason for entry in plan.not_applicable}


def test_another_size_does_not_hide_labels(tmp_path: Path, decoded: Path, dom: dict[str, str]) -> None:
    pair, larger = paired(dom), {**dom, "image_size": 20}
    told = "read training labels of the target of folder(dom): paint -> photo, more than 0 shots"
    for corpus in (dom, larger, paired(dom), paired(larger), {**dom, "path": f"{dom['path']}/photo", "image_size": 8}):
        (reason,) = refused(tmp_path, decoded, corpus, pair).values()
        assert reason.endswith(told)
    few = {"protocol": "classification", "shots": [2]}
    assert refused(tmp_path, decoded, larger, dom, **few) == {
        2: "pre-training on folder(dom,image_size=20) read training labels of folder(dom), more than 2 shots"
    }


def test_labels_of_the_source_are_free(tmp_path: Path, decoded: Path, dom: dict[str, str]) -> None:
    back = paired(dom, "photo", "paint")
    for corpus in (back, paired({**dom, "image_size": 20}, "photo", "paint"), {**dom, "path": f"{dom['path']}/paint"}):
        assert not refused(tmp_path, decoded, corpus, paired(dom))
    assert not refused(
        tmp_path, decoded, {"name": "folder", "path": f"{dom['path']}/paint"}, "digits", "classification", [2]
    )


def test_other_variants_of_glyphs_have_the_same_labels(tmp_path: Path, decoded: Path) -> None:
    many = {side: {**said, "variants": 10} for side, said in FACES.items()}
    assert set(refused(tmp_path, decoded, {**SCRIPTS, "variants": 3}, many)) == {0}
    assert not refused(tmp_path, decoded, {"name": "glyphs", "scripts": ["georgian"]}, many), "other characters"
    faces = {"source": many["target"], "target": {**many["source"], "variants": 3}}
    assert not refused(tmp_path, decoded, faces, many), "another face"


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ({"domain": "photo", "image_size": 32}, {"domain": "photo"}),
        ({"image_size": 32}, {"domain": "photo"}),
        ({"domain": "photo"}, {"image_size": 32}),
        ({"image_size": 32}, {}),
    ],
)
def test_a_source_of_the_target_s_own_images_is_refused(
    source: dict[str, Any], target: dict[str, Any], dom: dict[str, str], decoded: Path
) -> None:
    with pytest.raises(UserError, match="source and target share examples"):
        open_dataset("pair", {"source": {**dom, **source}, "target": {**dom, **target}}, Artifacts(decoded))


def test_one_domain_at_two_sizes_is_no_obstacle_to_pairing_two(dom: dict[str, str], decoded: Path) -> None:
    sides = paired(dom)
    sides["source"]["image_size"] = 32
    assert open_dataset("pair", sides, Artifacts(decoded)).info.shape == (1, 16, 16)


def test_one_labelled_image_a_class_is_all_there_is(tmp_path: Path, decoded: Path, dom: dict[str, str]) -> None:
    for kind in ("cat", "dog"):
        for number in range(2, 6):
            (Path(dom["path"]) / "photo" / kind / f"{number}.png").unlink()
    grid = {
        "protocol": "adaptation",
        "methods": ["source_only"],
        "backbones": [PLAIN],
        "datasets": [paired(dom)],
        "shots": ["full", 1],
        "seeds": 1,
    }
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps({"name": "labels", "grids": [grid]}))
    cells = prepare(path, Artifacts(decoded)).plan.cells
    dataset = open_dataset("pair", cells[0].dataset.params, Artifacts(decoded))
    for cell in cells:
        task = draw(task_info(cell.protocol, dataset.info, cell.shots), dataset, cell.seed)
        np.testing.assert_array_equal(task.train.rows, dataset.rows(TRAIN))
    assert len(cells) == 2
