"""Mutants of what decides whether frozen layer groups are left out, and of patience across stages."""

from __future__ import annotations

from mutant import Mutant

THAW = "tests/methods/test_gradual_unfreezing.py"
PREFIX = "tests/training/test_frozen_prefix.py"

MUTANTS = (
    Mutant(
        "prefix: answers are not compared",
        "training/frozen_prefix.py",
        "given.requires_grad or not _reproduces(rest, given, features)",
        "given.requires_grad",
        PREFIX,
    ),
    Mutant(
        "prefix: a zero hides what is used again",
        "training/frozen_prefix.py",
        "in (math.nan, 0.0):",
        "in (0.0,):",
        PREFIX,
    ),
    Mutant(
        "prefix: a mask from the inputs is not seen",
        "training/frozen_prefix.py",
        "in (math.nan, 0.0):",
        "in (math.nan,):",
        PREFIX,
    ),
    Mutant(
        "prefix: cut above what is trained",
        "training/frozen_prefix.py",
        "if given.requires_grad or not",
        "if not",
        PREFIX,
    ),
    Mutant(
        "prefix: what is trained beside the groups is forgotten",
        "training/frozen_prefix.py",
        "fixed = not features.requires_grad",
        "fixed = True",
        PREFIX,
    ),
    Mutant(
        "prefix: outputs that are changed in place",
        "training/frozen_prefix.py",
        "outputs[name] = output.clone()",
        "outputs[name] = output",
        PREFIX,
    ),
    Mutant(
        "prefix: kept maps are moved like images",
        "training/supervised_loop.py",
        'kept[0], list(kept[1]), "none"',
        "kept[0], list(kept[1]), augment",
        PREFIX,
    ),
    Mutant(
        "prefix: frozen layers run in training mode",
        "training/supervised_loop.py",
        "        for module in stage.frozen:\n            module.eval()\n",
        "",
        PREFIX,
    ),
    Mutant(
        "unfreezing: patience ends it before the stem",
        "methods/gradual_unfreezing.py",
        "patient_from=(len(opened) - 1) * cfg.epochs_per_stage",
        "patient_from=0",
        THAW,
    ),
)
