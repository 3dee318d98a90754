"""Audits of earlier versions stay readable."""

from __future__ import annotations

import json
from pathlib import Path

from tlbench.audit.results import (
    TEST_LABELS,
)
from tlbench.audit.storage import audit_file, read_audit, write_audit


def test_an_audit_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    check = {"check": TEST_LABELS, "verdict": "passed", "detail": ""}
    cell = {
        "id": "0" * 20, "protocol": "classification", "method": "m", "backbone": "b", "dataset": "d", "shots": "full",
        "seed": 0, "method_source": "m", "protocol_source": "p", "proofs": [check],
    }  # fmt: skip
    audit_of_old = {
        "suite": "s", "finished": 0.0, "version": "0", "commit": "", "device": "cpu", "planned": 1, "cells": [cell],
        "overlaps": [], "unseen": ["b"],
    }  # fmt: skip
    file = audit_file(tmp_path, "s")
    file.parent.mkdir()
    file.write_text(json.dumps(audit_of_old))
    found = read_audit(tmp_path, "s")
    assert found is not None
    assert [result.check for result in found.cells[0].checks] == [TEST_LABELS]
    assert found.unknown_corpora == ("b",)
    write_audit(tmp_path, found)
    assert read_audit(tmp_path, "s") == found
