"""Opens the workspace and the suites that a caller names: by file, by name, as a dictionary or as typed objects."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench.core.errors import UserError, nearest
from tlbench.core.paths import expand, is_utf8, readable

if TYPE_CHECKING:
    from tlbench.planning.prepare import PreparedSuite
    from tlbench.store.workspace import Workspace
    from tlbench.suite.spec import Suite
    from tlbench.suite.yaml_source import Source

    AnyPath = str | os.PathLike[str]
    AnySuite = AnyPath | Mapping[str, Any] | Suite

_SUFFIXES = (".yaml", ".yml")


def open_workspace(path: AnyPath | None) -> Workspace:
    """Return the workspace that the user named, else the one of the environment or of this folder."""
    from tlbench.store.workspace import Workspace

    return Workspace.at(None if path is None else as_path(path))


def open_suite(
    suite: AnySuite, workspace: Workspace, on_open: Callable[[str], None] = lambda name: None
) -> PreparedSuite:
    """Return a suite that is ready to run, with the parameters that its finished searches found.

    Args:
        suite: A file, a dictionary or typed objects; relative paths in the latter two start in the working directory.
        workspace: Where decoded data and finished searches are kept.
        on_open: Called with the name of each dataset before it is opened.

    Raises:
        UserError: The suite, its data or its weights are wrong.
    """
    from tlbench.planning.prepare import prepare, prepare_source

    if isinstance(suite, str | os.PathLike):
        path = as_path(suite)
        check_exists(path)
        prepared = prepare(path, workspace.artifacts, on_open)
    else:
        prepared = prepare_source(_source(suite), Path.cwd(), workspace.artifacts, on_open)
    if prepared.searches.waiting:
        with workspace.ledger() as ledger:
            prepared = prepared.with_winners(ledger)
    return prepared


def suite_name(suite: AnySuite) -> str:
    """Return the name of a suite that is given by its file, by its name alone, as a dictionary or as typed objects.

    Raises:
        UserError: The file is missing, or is no suite, or the name can be none.
    """
    from tlbench.planning.catalog import full_catalog
    from tlbench.suite.load import load, load_source

    if not isinstance(suite, str | os.PathLike):
        return load_source(_source(suite), Path.cwd(), full_catalog()).name
    text = os.fspath(suite)
    if not is_utf8(text):
        raise UserError(f"{readable(text)}: no name of a suite: it is not UTF-8", "give a suite's file or name")
    if Path(text).suffix not in _SUFFIXES:
        return text
    path = expand(text)
    check_exists(path)
    return load(path, full_catalog()).name


def suite_names(suites: AnySuite | Sequence[AnySuite]) -> list[str]:
    """Return the names of one suite or of several, each once.

    Raises:
        UserError: See :func:`suite_name`; or there is none.
    """
    several = suites if isinstance(suites, Sequence) and not isinstance(suites, str) else [suites]
    if not several:
        raise UserError("no suite is given", "give a suite's file or name")
    return list(dict.fromkeys(map(suite_name, several)))


def as_path(path: AnyPath) -> Path:
    """Return a path that a user wrote; ``~`` is the home folder."""
    return expand(os.fspath(path))


def check_exists(suite: Path) -> None:
    """Check that there is such a file.

    Raises:
        UserError: There is none; the hint names the nearest YAML file here or in ``suites/``.
    """
    if not suite.exists():
        near = [str(path) for folder in (Path(), Path("suites")) for path in folder.glob("*.y*ml")]
        hint = nearest(str(suite), near) if near else "give the path of a suite file"
        raise UserError(f"{suite}: no such file", hint)


def note_of_name(prepared: PreparedSuite, workspace: Workspace) -> str:
    """Return why a suite cannot run under its name in a workspace, empty where it can."""
    from tlbench.runner.suite_names import note_of_name as note

    if not workspace.has_ledger:
        return ""
    with workspace.ledger() as ledger:
        return note(prepared, ledger)


def note_of_results(file: str, name: str, workspace: Workspace) -> str:
    """Return a note where the results of a name are those of another suite than the file given for it, else empty."""
    from tlbench.runner.suite_names import is_another_suite
    from tlbench.store.ledger import SuiteFile

    if Path(file).suffix not in _SUFFIXES or not workspace.has_ledger:
        return ""
    with workspace.ledger() as ledger:
        owner = ledger.suite_file(name)
    if owner is None or not is_another_suite(SuiteFile(expand(file).resolve(), frozenset()), owner, name):
        return ""
    return f"{file}: the results of {name!r} are those of {owner.path}, another suite"


def _source(suite: Any) -> Source:
    """Return a suite of objects as if it were a file that had been read.

    Raises:
        UserError: It is of another type, or holds what no suite can hold.
    """
    from tlbench.suite.dictionary import dictionary_source
    from tlbench.suite.spec import Suite
    from tlbench.suite.written_form import written_form

    if isinstance(suite, Suite):
        return dictionary_source(written_form(suite))
    if isinstance(suite, Mapping):
        return dictionary_source(suite)
    raise UserError(
        f"a suite is a path, a dictionary or a tlbench.Suite, not {type(suite).__name__}",
        'for example {"name": "digits", "grids": [...]}',
    )
