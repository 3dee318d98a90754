"""Declarations are read without importing torch, and a broken file is reported as such."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tlbench.core.errors import UserError
from tlbench.plugins import registry
from tlbench.plugins.discovery import Plugin

METHOD = '''
"""One line.

Someone, arXiv:1234.5678, section 2.
"""
from __future__ import annotations
import math
import torch
from pydantic import Field
from tlbench.core.config import MethodConfig
from tlbench.core.info import TaskInfo
from tlbench.data.dataset import Task

PROTOCOLS = ("classification",)
QUICK = {"epochs": 1}
helper = torch.zeros(3)

class Config(MethodConfig):
    epochs: int = Field(int(math.sqrt(9)), ge=1)

def skip(info: TaskInfo, backbone, cfg: Config) -> str | None:
    return None if cfg.epochs < 5 else "too long"

def fit(task: Task, backbone, cfg, ctx):
    return torch.zeros(1)
'''.lstrip()


def _put(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.py"
    path.write_text(text)
    name = f"mine_{abs(hash(text))}"
    monkeypatch.setattr(registry, "find", lambda kind: {name: Plugin(name, "mine", path)})
    return name


def test_a_declaration_is_read_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = registry.declaration("methods", _put(monkeypatch, tmp_path, METHOD))
    assert (found.summary, found.paper) == ("One line.", "arXiv:1234.5678")
    assert (found.protocols, found.roles) == (("classification",), ("fit",))
    assert found.constants.QUICK == {"epochs": 1}
    assert found.settings().model_dump() == {"epochs": 3}
    assert found.skip is not None
    assert found.skip(None, None, found.settings(epochs=6)) == "too long"
    assert found.version == 1


def test_the_mark_of_the_code_is_computed_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []
    monkeypatch.setattr(registry, "code_mark", lambda module, path: asked.append(module) or "m2:0")
    found = registry.declaration("methods", _put(monkeypatch, tmp_path, METHOD + "# marked\n"))
    assert not asked
    assert [found.code_mark, found.code_mark] == ["m2:0"] * 2
    assert asked == ["mine"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def fit(:\n", r"mine\.py:1: is not valid Python"),
        (METHOD.replace('{"epochs": 1}', "torch.float32"), "the declaration cannot be read alone: name 'torch'"),
    ],
)
def test_a_broken_file_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        registry.declaration("methods", _put(monkeypatch, tmp_path, text))


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        (
            "FROZEN_BACKBON = True",
            r"mine\.py:\d+: unknown constant 'FROZEN_BACKBON'",
            "did you mean 'FROZEN_BACKBONE'?",
        ),
        ('FROZEN_BACKBONE = "yes"', r"mine\.py:\d+: FROZEN_BACKBONE: must be true or false, not", ""),
        ('MODALITIES = ("sound",)', r"mine\.py:\d+: ", ""),
        ("VERSION = 0", r"mine\.py:\d+: VERSION: must be greater than or equal to 1", ""),
    ],
)
def test_a_constant_that_is_unknown_or_of_another_type_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, message: str, hint: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        registry.declaration("methods", _put(monkeypatch, tmp_path, f"{METHOD}\n{line}\n"))
    assert hint in str(caught.value)


def test_a_constant_that_must_be_set_is_missed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without = "".join(line for line in METHOD.splitlines(keepends=True) if not line.startswith("PROTOCOLS"))
    with pytest.raises(UserError, match=r"mine\.py: the constant 'PROTOCOLS' is missing"):
        registry.declaration("methods", _put(monkeypatch, tmp_path, without))


def test_an_unknown_name_hints_at_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown protocol 'clasification'") as caught:
        registry.declaration("protocols", "clasification")
    assert caught.value.hint == "did you mean 'classification'?"


def test_everything_shipped_is_declared_without_torch() -> None:
    """Reads every declaration, and the whole of core, in a fresh process that must stay light."""
    code = (
        "import sys, pkgutil, importlib\n"
        "for room in ('core', 'plugins', 'suite'):\n"
        "    package = importlib.import_module('tlbench.' + room)\n"
        "    for found in pkgutil.iter_modules(package.__path__):\n"
        "        importlib.import_module('tlbench.' + room + '.' + found.name)\n"
        "from tlbench.plugins import registry\n"
        "for kind in ('methods', 'protocols'):\n"
        "    for name in registry.names(kind):\n"
        "        found = registry.declaration(kind, name)\n"
        "        assert found.summary, name\n"
        "        if kind == 'methods': assert found.roles, name\n"
        "        else: assert found.constants.VERSION >= 1, name\n"
        "        found.settings()\n"
        "assert {'classification', 'episodic'} <= set(registry.names('protocols'))\n"
        "heavy = {'torch', 'torchvision', 'ray', 'mlflow', 'numpy', 'pandas', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
