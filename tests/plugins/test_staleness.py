"""One rule says whether a result is stale: part by part, and for any reader."""

from __future__ import annotations

import pytest

from tlbench.plugins import registry
from tlbench.plugins.code_mark import FORM, execution_mark
from tlbench.plugins.staleness import InstalledCode, Marks

PROBE = registry.declaration("methods", "linear_probe").code_mark
DISTILLATION = registry.declaration("methods", "distillation").code_mark
SIMCLR = registry.declaration("methods", "simclr").code_mark
TEACHER = registry.declaration("methods", "finetune").code_mark
HERE = registry.declaration("protocols", "classification").code_mark
SHARED, TEXT = execution_mark(text=False), execution_mark(text=True)
NEVER = FORM + "0" * 16


@pytest.mark.parametrize(
    ("method", "marks", "changed"),
    [
        ("linear_probe", Marks(PROBE, f"{HERE}+{SHARED}"), False),
        ("linear_probe", Marks(PROBE, f"{HERE}+{TEXT}"), False),
        ("linear_probe", Marks(), False),
        ("linear_probe", Marks("", f"{HERE}+{SHARED}"), False),
        ("linear_probe", Marks(PROBE, f"{HERE}+"), False),
        ("linear_probe", Marks(NEVER, f"{HERE}+{SHARED}"), True),
        ("linear_probe", Marks(TEACHER, f"{HERE}+{SHARED}"), True),
        ("linear_probe", Marks(PROBE, f"{NEVER}+{SHARED}"), True),
        ("linear_probe", Marks(PROBE, f"{HERE}+{NEVER}"), True),
        ("linear_probe", Marks(PROBE, f"{HERE}+{SHARED}+{NEVER}"), True),
        ("linear_probe", Marks("0123456789abcdef~0123456789abcdef", f"{HERE}+{SHARED}"), True),
        ("linear_probe", Marks(PROBE, "0123456789abcdef~0123456789abcdef"), True),
        ("linear_probe", Marks(f"{PROBE}+{SIMCLR}", f"{HERE}+{SHARED}"), False),
        ("linear_probe", Marks(f"{PROBE}+{NEVER}", f"{HERE}+{SHARED}"), True),
        ("linear_probe", Marks(f"{PROBE}+{SIMCLR}+{NEVER}", f"{HERE}+{SHARED}"), True),
        ("distillation", Marks(f"{DISTILLATION}+{TEACHER}", f"{HERE}+{SHARED}"), False),
        ("distillation", Marks(f"{DISTILLATION}+{TEACHER}+{NEVER}", f"{HERE}+{SHARED}"), True),
        ("not_installed_here", Marks(NEVER, f"{HERE}+{SHARED}"), False),
    ],
)
def test_a_result_is_stale_when_any_part_of_its_code_has_changed(method: str, marks: Marks, changed: bool) -> None:
    code = InstalledCode()
    assert code.has_changed(method, "classification", marks) is changed
    assert code.has_changed(method, "classification", marks) is changed, "asked again"


def test_a_protocol_that_is_not_installed_has_not_changed() -> None:
    assert not InstalledCode().has_changed("linear_probe", "another", Marks(PROBE, f"{NEVER}+{SHARED}"))


def test_marks_stand_in_provenance() -> None:
    marks = Marks(PROBE, f"{HERE}+{SHARED}")
    assert Marks.of_provenance(marks.as_provenance | {"torch": "2"}) == marks
    assert Marks.of_provenance({}) == Marks()
