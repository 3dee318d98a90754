"""Datasets and backbones of another distribution do in suites all that shipped ones do, without an edit here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import toys
from small_suites import suite

from tlbench.store.ledger import Ledger

Run = Callable[..., "subprocess.CompletedProcess[str]"]

CONTRACT = """
import sys
from pathlib import Path
from tlbench.testing.backbone_contract import check_backbone, check_family, check_lightness as check_light_families
from tlbench.testing.dataset_contract import check_declaration, check_lightness, check_source
folder = Path(sys.argv[1])
check_lightness()
check_light_families()
sides = {"lower": {"name": "stripes", "each": 4}, "upper": "stripes"}
for name, params in (("stripes", {"each": 8}), ("PaleShade", {}), ("stack", sides)):
    check_declaration(name)
    check_source(name, params, folder / name)
for family, name, weights in (("toys", "toy_net", None), ("zoo", "zoo:lion", None),
                              ("toys", "toy_net", {"kind": "toys", "name": "second"})):
    check_family(family)
    (folder / str(weights)).mkdir(exist_ok=True)
    check_backbone(name, {"width": 8}, folder / str(weights), weights)
"""
IDENTITY = """
from tlbench.backbones.catalog import describe
from tlbench.data.catalog import load_source, names
print(describe("toy_net", {}, {"kind": "random"}).recipe["version"])
print("version" in describe("zoo:lion", {}, {"kind": "random"}).recipe)
print(load_source("MNIST").code.summary, load_source("digits").params.__module__, names().count("MNIST"))
"""


@pytest.fixture
def outside(tmp_path: Path, tlbench: Any, environment: dict[str, str]) -> Run:
    """Run the command line, or Python where the first argument is ``-c``, where the distribution is installed."""
    before = environment.get("PYTHONPATH", "")

    def run(*args: str, **changed: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / f"installed{len(list(tmp_path.glob('installed*')))}"
        env = environment | {"PYTHONPATH": f"{toys.install(folder, **changed)}:{before}"}
        if args[0] != "-c":
            return tlbench(*args, env=env)
        command = [sys.executable, *args]
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=240)

    return run


def write(tmp_path: Path, **grid: Any) -> Path:
    path = tmp_path / "outside.yaml"
    path.write_text(json.dumps(suite("outside", {"methods": ["linear_probe"], "seeds": 1, **grid})))
    return path


def test_they_keep_the_contract(outside: Run, tmp_path: Path) -> None:
    done = outside("-c", CONTRACT, str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_they_are_listed_with_their_summaries(outside: Run) -> None:
    datasets, backbones = outside("list", "datasets").stdout, outside("list", "backbones").stdout
    assert "Stripes that run in three directions" in datasets
    assert "images of level 90, and dark ones" in datasets
    assert "a toy; weights first, second" in backbones
    assert "Any animal of the zoo" in backbones
    assert "zoo:NAME" in backbones


def test_what_ships_wins_over_equal_names_and_versions_are_part_of_recipes(outside: Run) -> None:
    done = outside("-c", IDENTITY)
    version, no_version, identity = done.stdout.splitlines()
    assert (version, no_version) == ("2", "False")
    assert "level 1" not in identity
    assert "tlbench.data.sources.digits" in identity
    assert identity.endswith(" 1")


@pytest.mark.slow
def test_they_run_in_a_suite(outside: Run, tmp_path: Path) -> None:
    backbones = ["toy_net", {"name": "toy_net", "weights": "toys"}, {"name": "zoo:lion", "weights": {"zoo": "second"}}]
    datasets = ["stripes", {"name": "brightshade", "each": 16}, {"lower": "stripes", "upper": "stripes"}]
    path = write(tmp_path, backbones=backbones, datasets=datasets, shots=[3])
    checked = outside("check", str(path))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    done = outside("run", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    with Ledger(tmp_path / "workspace" / "ledger.sqlite") as ledger:
        cells = [record.cell for record in ledger.records()]
    assert {cell.backbone_label for cell in cells} == {"zoo:lion/second", "toy_net/first", "toy_net/random"}
    assert {cell.dataset for cell in cells} == {"stripes", "BrightShade(each=16)", "stripes + stripes"}
    assert len(cells) == 9
    assert {cell.recipe.get("version", 1) for cell in cells} == {1, 2}


def test_the_schema_knows_them(outside: Run, tmp_path: Path) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(outside("schema").stdout))

    def faults(**grid: Any) -> int:
        return len(list(validator.iter_errors(json.loads(write(tmp_path, **grid).read_text()))))

    for weights in ("toys", {"toys": "second"}, "zoo", "random"):
        assert not faults(backbones=[{"name": "toy_net", "weights": weights}])
    assert faults(backbones=[{"name": "toy_net", "weights": "toyz"}])
    assert faults(backbones=[{"name": "toy_net", "weights": {"toyz": "second"}}])
    assert not faults(backbones=["zoo:lion"], datasets=["stripes", "PaleShade"])
    assert faults(backbones=["zoo:"])
    assert faults(datasets=["stripe"])
    assert not faults(datasets=[{"lower": "stripes", "upper": {"name": "digits"}, "swap": True}])
    assert faults(datasets=[{"lower": "stripes", "upper": {"name": "digits"}, "swop": True}])
    assert faults(datasets=[{"lower": "stripes", "upper": "stack"}])


@pytest.mark.parametrize(
    ("grid", "what", "hint"),
    [
        (
            {"backbones": [{"name": "toy_net", "weights": "toyz"}]},
            "weights: must be random, hf,",
            "did you mean 'toys'",
        ),
        ({"backbones": [{"name": "toy_net", "weights": {"toyz": "first"}}]}, "toys, {toys: NAME},", "mean 'toys'"),
        ({"backbones": [{"name": "toy_net", "weights": {"toys": "frist"}}]}, "has no weights 'frist'", "mean 'first'"),
        ({"backbones": [{"name": "conv4", "weights": "toys"}]}, "conv4: toys has no weights 'DEFAULT'", "random"),
        ({"backbones": [{"name": "toy_net", "widht": 3}]}, "unknown key 'widht'", "did you mean 'width'"),
        ({"backbones": ["toy_nett"]}, "unknown backbone 'toy_nett'", "did you mean 'toy_net'"),
        ({"datasets": [{"name": "stripes", "each": 3}]}, "each: must be greater than or equal to 4", ""),
        ({"datasets": [{"name": "PaleShade", "each": 13}]}, "'each' 13 brings bad luck", "take 12"),
        ({"datasets": ["strips"]}, "unknown dataset 'strips'", "did you mean 'stripes'"),
        ({"datasets": [{"lower": "stripes", "upper": "stipes"}]}, "unknown dataset 'stipes', as 'upper'", "'stripes'"),
        (
            {"datasets": [{"lower": "stripes", "upper": {"name": "pair"}}]},
            "a stack of pairs, as 'upper'",
            "one dataset",
        ),
    ],
)
def test_mistakes_are_named_with_the_nearest_choice(
    outside: Run, tmp_path: Path, grid: dict[str, Any], what: str, hint: str
) -> None:
    done = outside("check", str(write(tmp_path, **grid)))
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 2
    assert "outside.yaml:" in said
    assert what in said
    assert hint in said


@pytest.mark.parametrize(
    ("changed", "args", "what", "hint"),
    [
        ({"stripes": toys.STRIPES + "\nVERSOIN = 2\n"}, "datasets", "unknown constant 'VERSOIN'", "mean 'VERSION'"),
        ({"stripes": toys.STRIPES.replace("VERSION = 1", "VERSION = '1'")}, "datasets", "must be a whole number", ""),
        ({"stripes": toys.STRIPES.replace("VERSION = 1", "")}, "datasets", "'VERSION' is missing", "raise it when"),
        ({"stripes": toys.STRIPES.replace("def decode", "def decod")}, "datasets", "defines 'decode'", "'decod'"),
        ({"stripes": "import no_such_library\n"}, "datasets", "cannot be imported", "install what it needs"),
        ({"stack": toys.STACK.replace("upper: Member", "upper: str")}, "datasets", "JOINS names 'upper'", ""),
        ({"family": toys.FAMILY + "\nPREFIX = 'toy:'\n"}, "backbones", "unknown constant 'PREFIX'", "VERSION"),
        (
            {"family": toys.FAMILY.replace("def construct", "def build")},
            "backbones",
            "defines 'construct'",
            "family.py",
        ),
        ({"family": "def describe(:\n"}, "backbones", "family.py:1: is not valid Python", ""),
    ],
)
def test_declarations_are_refused_with_file_and_nearest_choice(
    outside: Run, tmp_path: Path, changed: dict[str, str], args: str, what: str, hint: str
) -> None:
    name = "stack" if "stack" in changed else "stripes"
    dataset = {"lower": "stripes", "upper": "stripes"} if name == "stack" else name
    path = write(tmp_path, backbones=["toy_net"], datasets=[dataset if args == "datasets" else "digits"])
    done = outside("check", str(path), **changed)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 2, said
    assert "tlbench_toys" in said
    assert what in said
    assert hint in said
