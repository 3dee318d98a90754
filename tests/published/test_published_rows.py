"""Published rows: suites of references run on real data and weights, and agree within their tolerances.

The tolerances stand in the suites and were fixed before anything was run. What is not on this machine is skipped,
visibly; every shipped suite is read and its references are checked all the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import real_inputs
import yaml
from compared_rows import compare, disagreeing
from outside_plugins import write_package
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tlbench.planning.catalog import full_catalog
from tlbench.suite.load import load

TESTS = Path(__file__).parents[1]
SUITES = sorted((TESTS.parent / "suites").glob("references-*.yaml"))
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MTEB = [
    f"mteb/{name}.csv" for name in ("banking77", "massive_intent", "massive_scenario", "mtop_domain", "mtop_intent")
]
NEEDS = {"references-clinc150": (["clinc150/clinc150.csv"], MINILM), "references-mteb": (MTEB, MINILM)}
PIXELS = sorted(Path(__file__).parent.glob("pixels-*.yaml"))  # of a family that this test installs
PIXELS_NEED = {
    "pixels-cifar10": "cifar10/cifar10.zip",
    "pixels-cifar10-logistic": "cifar10/cifar10.zip",
    "pixels-omniglot-5way": "omniglot-small/omniglot-small.zip",
    "pixels-omniglot-20way": "omniglot-small/omniglot-small.zip",
}


def test_rows_enough_from_sources_enough_can_be_run_and_are_comparable() -> None:
    run = [*(path for path in SUITES if path.stem == "references-clinc150"), *PIXELS]
    rows = [each for path in run for each in yaml.safe_load(path.read_text())["references"] if "differs" not in each]
    sources = {each["source"].partition(",")[0] for each in rows}
    assert len(rows) >= 10
    assert len(sources) >= 4, sources


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_reference_names_a_source_and_a_method_of_its_suite(path: Path) -> None:
    suite = load(path, full_catalog())
    assert suite.references
    listed = {method.name for grid in suite.grids for method in grid.methods}
    for each in suite.references:
        assert each.row.method.partition("(")[0] in listed
        assert any(mark in each.source for mark in ("arXiv:", "MTEB"))


def write_digits(folder: Path) -> None:
    """Write the digits as images, once with the test of the lectures and once with that of the exercise."""
    x, y = load_digits(return_X_y=True)
    last = np.arange(len(y)) >= int(0.9 * len(y))
    quarter = np.isin(np.arange(len(y)), train_test_split(np.arange(len(y)), test_size=0.25, random_state=0)[1])
    for name, tested in {"tenth": last, "quarter": quarter}.items():
        for row, (pixels, label, held_out) in enumerate(zip(x, y, tested, strict=True)):
            place = folder / name / ("test" if held_out else "train") / str(label)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray((15 * pixels.reshape(8, 8)).astype(np.uint8)).save(place / f"{row:04}.png")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("path", PIXELS, ids=lambda path: path.stem)
def test_rows_of_pixels_agree_with_the_published_ones(path: Path, tmp_path: Path) -> None:
    if path.stem in PIXELS_NEED:
        real_inputs.real_data(PIXELS_NEED[path.stem])
    else:
        write_digits(tmp_path / "made")
    text = (Path(__file__).parent / "pixels.py").read_text()
    folder = write_package(tmp_path / "installed", "pixel_family", {"pixels": text}, {"backbones": ["pixels"]})
    paths = [str(folder), str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, str(Path(__file__).parent / "compared_rows.py"), str(path), str(tmp_path / "artifacts")]
    places = {"TLBENCH_DATA": str(real_inputs.DATA), "TLBENCH_MADE": str(tmp_path / "made")}
    env = {**os.environ, **places, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=3500)
    print(done.stdout)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", sorted(NEEDS))
def test_our_rows_agree_with_the_published_ones(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, weights = NEEDS[name]
    for each in data:
        real_inputs.real_data(each)
    real_inputs.real_weights(weights)
    monkeypatch.setenv("TLBENCH_DATA", str(real_inputs.DATA))
    (path,) = (each for each in SUITES if each.stem == name)
    assert disagreeing(compare(path, tmp_path)) == []
