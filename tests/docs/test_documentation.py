"""The documentation: its examples run, its suites load, its links lead somewhere, and it builds without a warning."""

from __future__ import annotations

import doctest
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tlbench.planning.catalog import full_catalog
from tlbench.plugins import registry
from tlbench.suite.load import loads

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("recipes/*.md"))]
NOTEBOOK = DOCS / "quickstart.ipynb"
GENERATED = "reference/"


@pytest.fixture(scope="module")
def reference() -> Any:
    """The module that makes the reference pages."""
    pytest.MonkeyPatch().syspath_prepend(str(DOCS))
    import reference

    return reference


@pytest.mark.parametrize("page", [page for page in PAGES if ">>> " in page.read_text()], ids=lambda page: page.name)
def test_examples_give_what_they_say(
    page: Path, decoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLBENCH_ARTIFACTS", str(decoded))
    text = re.sub(r"^```.*$", "", page.read_text(), flags=re.MULTILINE)
    found = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    assert found.examples
    said: list[str] = []
    results = doctest.DocTestRunner().run(found, out=said.append)
    assert results.failed == 0, "".join(said)


def suites() -> list[Any]:
    """Return every suite that stands in a page, whole."""
    fences = [(page, text) for page in PAGES for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)]
    return [pytest.param(text, id=page.stem) for page, text in fences if re.search(r"^grids:", text, re.MULTILINE)]


@pytest.mark.parametrize("text", suites())
def test_suites_on_the_pages_can_be_loaded(text: str) -> None:
    assert loads(text, full_catalog()).grids


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target) or target.startswith("#"):
            continue
        file, _, heading = target.partition("#")
        if file.startswith(GENERATED):
            continue
        assert (page.parent / file).exists(), f"{page.name}: {target}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", (page.parent / file).read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}, target


def test_every_method_command_and_column_is_in_the_reference(reference: Any) -> None:
    methods, commands, columns = reference.methods_page(), reference.commands_page(), reference.columns_page()
    for name in registry.names("methods"):
        declared = registry.declaration("methods", name)
        start = methods.index(f"### {name}\n")
        own = methods[start : methods.find("\n### ", start + 1)]
        assert declared.summary.split(":")[0] in " ".join(own.split())
        assert all(f"| `{field}` |" in own for field in declared.settings.model_fields), name
        if declared.module.startswith("tlbench.methods."):
            assert "**When to use it.**" in own, name
            assert "https://arxiv.org/abs/" in own, name
    assert "--retry-failed" in commands
    assert "## predict" in commands
    assert "| `test_accuracy` | `float64` |" in columns
    assert all(f"| `{name}` |" in reference.names_page() for name in ("digits", "conv4", "macro_f1"))
    assert "| `ways` |" in reference.protocols_page()


def test_a_method_without_words_stops_the_build(reference: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    families = {name: tuple(each for each in row if each != "lora") for name, row in reference.FAMILIES.items()}
    monkeypatch.setattr(reference, "FAMILIES", families)
    with pytest.raises(ValueError, match="say nothing of lora"):
        reference.methods_page()


def test_the_notebook_is_kept_with_its_outputs() -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"execute_result", "display_data", "stream"}
    assert all(output.get("name") != "stderr" for output in outputs)


@pytest.mark.slow
def test_the_notebook_runs_and_finds_the_same(tmp_path: Path, decoded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: the group docs has it")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: the group docs has it")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed: the group docs has it")
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TLBENCH_ARTIFACTS", str(decoded))
    kept = nbformat.read(NOTEBOOK, as_version=4)
    again = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(again, timeout=240, kernel_name="python3", resources=resources).execute()
    for before, after in zip(kept.cells, again.cells, strict=True):
        outputs = [_shown(before), _shown(after)]
        assert len(outputs[0]) == len(outputs[1])
        for first, second in zip(*outputs, strict=True):
            assert first.output_type == second.output_type
            assert first.get("name") == second.get("name")
            if "data" in first:  # numbers may differ in their last digit on another machine
                assert _words(first.data["text/plain"]) == _words(second.data["text/plain"])


def _shown(cell: Any) -> list[Any]:
    """Return what a cell gave, without the line of progress, which depends on the clock."""
    return [each for each in cell.get("outputs", ()) if each.output_type != "display_data"]


def _words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z_]{2,}", text)


@pytest.mark.slow
def test_the_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    for name in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(name, reason=f"{name} is not installed: the group docs has it")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "trees")]
    built = subprocess.run([*command, str(DOCS), str(tmp_path / "html")], capture_output=True, text=True, timeout=240)
    assert built.returncode == 0, built.stderr
    assert "When to use it" in (tmp_path / "html" / "reference" / "methods.html").read_text()
