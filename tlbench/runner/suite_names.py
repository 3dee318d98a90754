"""Whose a suite's name is: of two suites with one name in a workspace each would drop the other's results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tlbench.core.errors import UserError
from tlbench.planning.prepare import PreparedSuite
from tlbench.store.ledger import Ledger, SuiteFile
from tlbench.suite.yaml_source import parse, read

_UNREADABLE = object()
_WAYS_OUT = (
    "give this one a name or a workspace (--workspace) of its own, or move the other file away if this one takes its "
    "place: of two suites with one name each drops the other's results from MLflow and from the report"
)


def claim_name(prepared: PreparedSuite, ledger: Ledger) -> None:
    """Note in the ledger that a suite file has its name.

    It goes on with the results of that name where it is the file of before, edited or not; where that one was moved,
    removed or given another name; and where it says the same as that one and reads the same data. A suite without a
    file has a name that no file has, or says the same as that file.

    Raises:
        UserError: Another suite has the name, in a file that is still there.
    """
    name = prepared.suite.name
    owner = ledger.suite_file(name)
    if owner is not None and _is_taken(prepared, owner):
        raise UserError(_taken(prepared, owner), _WAYS_OUT)
    if prepared.path is None:
        return
    own = _suite_file(prepared, prepared.path)
    if own != owner and (owner is None or own.path == owner.path or not _has_name(owner.path, name)):
        ledger.note_suite_file(name, own)


def note_of_name(prepared: PreparedSuite, ledger: Ledger) -> str:
    """Return why a suite will not run under its name, empty where it will."""
    owner = ledger.suite_file(prepared.suite.name)
    if owner is None or not _is_taken(prepared, owner):
        return ""
    return f"{_taken(prepared, owner)}: it cannot run; {_WAYS_OUT}"


def is_another_suite(own: SuiteFile, owner: SuiteFile, name: str) -> bool:
    """Say whether the file that has a name is still there, and is another suite than one's own.

    Args:
        own: One's own file.
        owner: The file that has the name in the ledger.
        name: Of both.
    """
    if own.path == owner.path or not _has_name(owner.path, name):
        return False
    if _value(own.path) != _value(owner.path):
        return True
    return not (own.data <= owner.data or owner.data <= own.data)  # the same words beside other data


def _is_taken(prepared: PreparedSuite, owner: SuiteFile) -> bool:
    name = prepared.suite.name
    if prepared.path is not None:
        return is_another_suite(_suite_file(prepared, prepared.path), owner, name)
    return _has_name(owner.path, name) and _value(owner.path) != parse(prepared.text, prepared.named_at).value


def _suite_file(prepared: PreparedSuite, path: Path) -> SuiteFile:
    return SuiteFile(path, frozenset(cell.dataset.info.fingerprint for cell in prepared.plan.cells))


def _taken(prepared: PreparedSuite, owner: SuiteFile) -> str:
    return f"{prepared.named_at}: {owner.path} has the name {prepared.suite.name!r}, and is another suite"


def _has_name(file: Path, name: str) -> bool:
    """Say whether a suite file is still there and has the name; one that cannot be read is taken to have it."""
    try:
        if not file.is_file():
            return False
    except OSError:
        return True
    value = _value(file)
    return value.get("name") == name if isinstance(value, dict) else value is _UNREADABLE


def _value(file: Path) -> Any:
    try:
        return read(file).value
    except (UserError, OSError):
        return _UNREADABLE
