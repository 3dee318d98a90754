"""The mark of code changes when what a file reaches changes, and at nothing else."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

import pytest

import tlbench
from tlbench.plugins import code_mark as code
from tlbench.plugins.code_mark import file_part, mark, same_code

FILES = {
    "methods/mine.py": """\
        \"\"\"One line.\"\"\"
        from __future__ import annotations
        from typing import TYPE_CHECKING
        import math
        from tlbench.core.errors import UserError
        from tlbench.training.loop import train, Schedule as Plan
        from tlbench.training.passing import passed_on
        from tlbench.training import whole
        from . import _beside
        if TYPE_CHECKING:
            from tlbench.data.parts import Split

        RATE = 0.1

        def fit(split: Split):
            # why
            from tlbench.backbones.inner import late
            return train(split, RATE) + passed_on() + whole.f() + _beside.g() + late() + math.pi
        """,
    "methods/_beside.py": "def g():\n    return 1\n",
    "training/loop.py": """\
        from tlbench.training.losses import loss
        from tlbench.stats.means import mean as average
        STEPS = 3
        UNUSED = 4

        class Schedule:
            pass

        def train(split, rate):
            return _step(split) * STEPS

        def _step(split):
            return average(loss(split))

        def another():
            return 0
        """,
    "training/losses.py": "import torch\n\ndef loss(x):\n    return x\n\ndef never():\n    return 1\n",
    "training/passing.py": "from tlbench.training.origin import passed_on\n",
    "training/origin.py": "def passed_on():\n    return 2\n",
    "training/whole.py": "def f():\n    return 3\n\ndef h():\n    return 4\n",
    "training/elsewhere.py": "",
    "stats/means.py": "def mean(x):\n    return x\n",
    "data/parts.py": "print('loose')\n\nclass Split:\n    rows = 1\n",
    "backbones/inner.py": "def late():\n    return 5\n",
    "core/errors.py": "class UserError(Exception):\n    pass\n",
}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package in the place of this one."""
    for name, text in FILES.items():
        file = tmp_path / "tlbench" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    monkeypatch.setattr(code, "_HOME", tmp_path)
    return tmp_path / "tlbench"


def today(house: Path) -> str:
    code._read.cache_clear()  # files change faster here than clocks tell
    return mark("tlbench.methods.mine", house / "methods" / "mine.py")


def edit(house: Path, name: str, old: str, new: str) -> None:
    file = house / name
    text = file.read_text()
    assert text.count(old) == 1 or not old
    file.write_text(text.replace(old, new) if old else text + new)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("methods/mine.py", "RATE = 0.1", "RATE = 0.2"),
        ("methods/_beside.py", "return 1", "return 2"),
        ("training/loop.py", "return _step(split)", "return -_step(split)"),
        ("training/loop.py", "return average(", "return -average("),
        ("training/loop.py", "STEPS = 3", "STEPS = 4"),
        ("training/losses.py", "    return x\n", "    return x * x\n"),
        ("training/origin.py", "return 2", "return 3"),
        ("training/whole.py", "return 4", "return 5"),
        ("stats/means.py", "return x", "return -x"),
        ("data/parts.py", "rows = 1", "rows = 2"),
        ("data/parts.py", "'loose'", "'still loose'"),
        ("backbones/inner.py", "return 5", "return 6"),
        ("training/loop.py", "import mean as average", "import median as average"),
        ("methods/mine.py", "import math", "import cmath as math"),
    ],
)
def test_a_change_of_what_is_reached_is_another_mark(house: Path, name: str, old: str, new: str) -> None:
    before = today(house)
    edit(house, name, old, new)
    assert not same_code(before, today(house))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("methods/mine.py", "One line.", "Another line."),
        ("methods/mine.py", "# why", "# because"),
        ("methods/mine.py", "RATE = 0.1", "RATE = (0.1)"),
        ("training/loop.py", "UNUSED = 4", "UNUSED = 5"),
        ("training/loop.py", "return 0", "return 1"),
        ("training/loop.py", "", "def third(): return 3\n"),
        ("training/loop.py", "def _step(split):", "def _step(split):\n    '''Say it.'''"),
        ("training/losses.py", "return 1", "return 2"),
        ("core/errors.py", "pass", "code = 2"),
    ],
)
def test_a_change_of_anything_else_is_the_same_code(house: Path, name: str, old: str, new: str) -> None:
    before = today(house)
    edit(house, name, old, new)
    assert same_code(before, today(house))
    assert (file_part(before) == file_part(today(house))) == (name != "methods/mine.py")


def test_a_definition_that_moves_to_another_file_is_the_same_code(house: Path) -> None:
    before = today(house)
    (house / "training" / "elsewhere.py").write_text(FILES["training/origin.py"])
    edit(house, "training/passing.py", "tlbench.training.origin", "tlbench.training.elsewhere")
    assert same_code(before, today(house))


def test_a_third_party_s_own_files_are_followed(tmp_path: Path) -> None:
    package = tmp_path / "theirs" / "inner"
    package.mkdir(parents=True)
    method, shared = package / "method.py", package.parent / "shared.py"
    method.write_text(
        "from ..shared import scale\nimport theirs.more\n\ndef fit():\n    return scale + theirs.more.x\n"
    )
    shared.write_text("scale = 1\n")
    (package.parent / "more.py").write_text("x = 1\n")

    def now() -> str:
        code._read.cache_clear()
        return mark("theirs.inner.method", method)

    before = now()
    shared.write_text("scale = 2\n")
    assert not same_code(before, now())


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        ("", "f~r", True),
        ("f~r", "f~r", True),
        ("f~r", "g~r", True),
        ("f~r", "f~s", False),
        ("f", "f~r", True),
        ("g", "f~r", False),
        ("f~r+w", "f~r+w", True),
        ("f~r+w", "g~r+w", True),
        ("f~r+w", "f~r+v", False),
        ("f+w", "f~r+w", True),
        ("f~r", "f~r+w", False),
        ("f~r+w", "f~r", False),
    ],
)
def test_marks_are_compared_part_by_part(before: str, now: str, same: bool) -> None:
    assert same_code(before, now) is same


def test_a_changed_training_loop_marks_the_methods_that_call_it_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a copy of the real package."""
    copy = tmp_path / "tlbench"
    shutil.copytree(Path(tlbench.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "_HOME", tmp_path)

    def marks() -> dict[str, str]:
        code._read.cache_clear()
        return {
            name: mark(f"tlbench.methods.{name}", copy / "methods" / f"{name}.py")
            for name in ("finetune", "lora", "knn", "protonet", "supervised")
        }

    before = marks()
    loop = copy / "training" / "supervised_loop.py"
    text = loop.read_text()
    assert "def train_classifier(" in text
    loop.write_text(text.replace("def train_classifier(", "def train_classifier_as_before(", 1) + _LOOP)
    after = marks()
    assert {name for name in before if not same_code(before[name], after[name])} == {"finetune", "lora", "supervised"}
    assert {name: file_part(each) for name, each in before.items()} == {
        name: file_part(each) for name, each in after.items()
    }, "pre-trained weights keep their names"


_LOOP = """

def train_classifier(*args, **kwargs):
    return train_classifier_as_before(*args, **kwargs)
"""
