"""Stores audits: one JSON file a suite, in the workspace."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from tlbench.audit.results import Audit
from tlbench.core.errors import UserError
from tlbench.store.atomic_write import write_file


def audit_file(root: Path, suite: str) -> Path:
    """Return the path of the audit of a suite, whether it exists or not.

    Args:
        root: The workspace's folder.
        suite: Name of the suite.
    """
    return root / "audits" / f"{suite}.json"


def read_audit(root: Path, suite: str) -> Audit | None:
    """Return the audit of a suite; None where the suite was never audited.

    Args:
        root: The workspace's folder.
        suite: Name of the suite.

    Raises:
        UserError: The file is damaged, or of another version of tlbench.
    """
    file = audit_file(root, suite)
    try:
        return Audit.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise UserError(
            f"{file}: is no audit of this version of tlbench", "delete it; `tlbench audit` writes a new one"
        ) from error


def write_audit(root: Path, audit: Audit) -> Path:
    """Write an audit over an earlier one and return its path; a reader sees the old or the new one, whole.

    Args:
        root: The workspace's folder.
        audit: The audit.
    """
    file = audit_file(root, audit.suite)
    file.parent.mkdir(parents=True, exist_ok=True)
    return write_file(file, audit.model_dump_json(indent=1))
