"""Constants of plug-ins are typed: unknown, missing and ill-typed ones are refused with file, line and nearest name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from tlbench.core.config import Settings
from tlbench.core.errors import UserError
from tlbench.plugins.constants import read_constants
from tlbench.plugins.module_text import read_module_text


class Declared(Settings):
    VERSION: int = Field(ge=1, description="raise it when results change")
    NAMES: tuple[str, ...] = ()
    HEAVY: bool = False


def read(tmp_path: Path, text: str) -> Declared:
    path = tmp_path / "plugin.py"
    path.write_text(text)
    namespace: dict[str, Any] = {}
    exec(compile(text, str(path), "exec"), namespace)
    read_module_text.cache_clear()
    return read_constants(Declared, read_module_text(path), namespace)


def test_constants_are_read_with_their_defaults(tmp_path: Path) -> None:
    found = read(tmp_path, "VERSION = 1 + 1\nNAMES: tuple = ('a',)\n")
    assert (found.VERSION, found.NAMES, found.HEAVY) == (2, ("a",), False)


def test_private_and_imported_names_and_type_variables_are_no_constants(tmp_path: Path) -> None:
    text = "from os import O_RDONLY as READ\nfrom typing import TypeVar\nT = TypeVar('T')\n_INNER = 3\nVERSION = 1\n"
    assert read(tmp_path, text).VERSION == 1


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("VERSION = 1\n\nNAME = ()\n", "plugin.py:3: unknown constant 'NAME'", "did you mean 'NAMES'?"),
        ("VERSION = 1\nOTHER, NAMES = 1, ()\n", "plugin.py:2: unknown constant 'OTHER'", "begins with an underscore"),
        ("NAMES = ()\n", "plugin.py: the constant 'VERSION' is missing", "raise it when results change"),
        ("\nVERSION = '1'\n", "plugin.py:2: VERSION: must be a whole number, not '1'", ""),
        ("VERSION = 0\n", "plugin.py:1: VERSION: must be greater than or equal to 1", ""),
        ("VERSION = 1\nHEAVY = object()\n", "plugin.py:2: HEAVY must be a plain value, not object", ""),
        ("VERSION = 1\nNAMES = 'a'\n", "plugin.py:2: NAMES: must be a list, not 'a'", ""),
    ],
)
def test_mistakes_are_named_with_file_and_line(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_file_is_read_without_being_run(tmp_path: Path) -> None:
    path = tmp_path / "plugin.py"
    path.write_text('"""What it is.\n\nMore."""\nVERSION = 1 / 0\ndef f(): ...\nclass C: ...\n')
    text = read_module_text(path)
    assert (text.summary, text.constants, text.definitions) == ("What it is.", {"VERSION": 4}, {"f": 5, "C": 6})


def test_what_is_no_python_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "plugin.py"
    path.write_text("VERSION = 1\ndef f(:\n")
    with pytest.raises(UserError, match=r"plugin\.py:2: is not valid Python"):
        read_module_text(path)
