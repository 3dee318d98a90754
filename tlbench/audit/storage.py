"""Where audits are kept: one JSON file a suite, in the workspace."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from pydantic import ValidationError

from tlbench.audit.results import Audit
from tlbench.core.errors import UserError


def audit_file(root: Path, suite: str) -> Path:
    """Return where the audit of a suite is kept, made or not.

    Args:
        root: The workspace's folder.
        suite: Name of the suite.
    """
    return root / "audits" / f"{suite}.json"


def read_audit(root: Path, suite: str) -> Audit | None:
    """Return the audit of a suite; None where there was none.

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
            f"{file}: is no audit of this version of tlbench", "delete it; `tlbench audit` makes it anew"
        ) from error


def write_audit(root: Path, audit: Audit) -> Path:
    """Keep an audit, in the place of an earlier one; a reader sees the old or the new one, whole."""
    file = audit_file(root, audit.suite)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    try:
        with draft.open("w", encoding="utf-8") as stream:
            stream.write(audit.model_dump_json(indent=1))
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    return file
