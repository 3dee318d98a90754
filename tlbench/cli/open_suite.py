"""Opens the workspace and the suite that a command is given, and says in the terminal what goes on meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from tlbench.cli.output import err
from tlbench.core.errors import UserError, nearest
from tlbench.core.paths import expand, is_utf8, readable

if TYPE_CHECKING:
    from tlbench.planning.prepare import PreparedSuite
    from tlbench.store.workspace import Workspace

_SUFFIXES = (".yaml", ".yml")
_NOTES = 10  # shown about the data of a suite; more would hide the rest


def open_workspace(path: Path | None) -> Workspace:
    """Return the workspace that the user named, else the one of the environment or of this folder."""
    from tlbench.store.workspace import Workspace

    return Workspace.at(path)


def open_suite(suite: Path, workspace: Workspace) -> PreparedSuite:
    """Return a suite that is ready to run, with the parameters that its finished searches found.

    Raises:
        UserError: The suite, its data or its weights are wrong.
    """
    from tlbench.planning.prepare import prepare

    check_exists(suite)
    with err.status("reading the suite") as shown:  # in a terminal only
        prepared = prepare(suite, workspace.artifacts, lambda name: shown.update(f"opening {escape(name)}"))
    for warning in prepared.warnings[:_NOTES]:
        err.print(f"[yellow]note[/] {escape(warning)}")
    if len(prepared.warnings) > _NOTES:
        err.print(f"[yellow]note[/] and {len(prepared.warnings) - _NOTES} more")
    if prepared.searches.waiting:
        with workspace.ledger() as ledger:
            prepared = prepared.with_winners(ledger)
    return prepared


def print_note_of_name(prepared: PreparedSuite, workspace: Workspace) -> None:
    """Say whether another suite has the name, as far as suites have run in the workspace."""
    from tlbench.runner.suite_names import note_of_name

    if not workspace.has_ledger:
        return
    with workspace.ledger() as ledger:
        note = note_of_name(prepared, ledger)
    if note:
        err.print(f"[yellow]note[/] {escape(note)}")


def note_results_of_others(file: str, name: str, workspace: Workspace) -> None:
    """Say whether the results of a name are those of another suite than the file that was given for it."""
    from tlbench.runner.suite_names import is_another_suite
    from tlbench.store.ledger import SuiteFile

    if Path(file).suffix not in _SUFFIXES or not workspace.has_ledger:
        return
    with workspace.ledger() as ledger:
        owner = ledger.suite_file(name)
    if owner is not None and is_another_suite(SuiteFile(expand(file).resolve(), frozenset()), owner, name):
        err.print(
            f"[yellow]note[/] {escape(f'{file}: the results of {name!r} are those of {owner.path}, another suite')}"
        )


def check_exists(suite: Path) -> None:
    """Check that there is such a file.

    Raises:
        UserError: There is none; the hint names the nearest YAML file here or in ``suites/``.
    """
    if not suite.exists():
        near = [str(path) for folder in (Path(), Path("suites")) for path in folder.glob("*.y*ml")]
        hint = nearest(str(suite), near) if near else "give the path of a suite file"
        raise UserError(f"{suite}: no such file", hint)


def suite_name(text: str) -> str:
    """Return the name of a suite that is given by its file or by its name.

    Raises:
        UserError: The file is missing, or is no suite, or the name can be none.
    """
    if not is_utf8(text):
        raise UserError(f"{readable(text)}: no name of a suite: it is not UTF-8", "give a suite's file or name")
    if Path(text).suffix not in _SUFFIXES:
        return text
    path = expand(text)
    check_exists(path)
    from tlbench.planning.catalog import full_catalog
    from tlbench.suite.load import load

    return load(path, full_catalog()).name
