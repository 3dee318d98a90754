"""The command list: methods, protocols, backbones, datasets and suites."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("what", ["methods", "protocols", "backbones", "datasets", "metrics"])
def test_lists_name_everything_once_with_a_line_each(command: Any, what: str) -> None:
    rows = json.loads(command("list", what, "--json").out)
    names = [row["name"] for row in rows]
    assert len(names) == len(set(names)) > 1
    assert all(row["about"] for row in rows)
    printed = command("list", what).out.splitlines()
    assert [line.split()[0] for line in printed] == names


def test_suites_are_listed_by_path_with_their_comment(command: Any, here: Path) -> None:
    assert command("list", "suites") == (0, "", "there are no suites here: no file suites/*.yaml\n")
    (here / "suites").mkdir()
    (here / "suites" / "a.yaml").write_text("# tlbench run suites/a.yaml\n#\n# What it asks.\nname: a\n")
    (here / "suites" / "folder.yaml").mkdir()
    os.mkfifo(here / "suites" / "pipe.yaml")
    (here / "suites" / "latin.yaml").write_bytes("# run\n# für\n".encode("latin-1"))
    assert command("list", "suites").out == "suites/a.yaml      What it asks.\nsuites/latin.yaml  f\ufffdr\n"
