"""Mutants of what decides whether frozen layer groups are left out, and of patience across stages."""

from __future__ import annotations

from mutant import Mutant

THAW = "tests/methods/test_gradual_unfreezing.py"
PREFIX = "tests/training/test_frozen_prefix.py"

MUTANTS = (
    Mutant(
        "prefix: answers are not compared",
        "tlbench.training.frozen_prefix:cache_prefix",
        "or not _reproduces(suffix, output, features)",
        "",
        PREFIX,
    ),
    Mutant(
        "prefix: a zero hides what is used again",
        "tlbench.training.frozen_prefix:_reproduces",
        "(math.nan, 0.0)",
        "(0.0,)",
        PREFIX,
    ),
    Mutant(
        "prefix: a mask from the inputs is not seen",
        "tlbench.training.frozen_prefix:_reproduces",
        "(math.nan, 0.0)",
        "(math.nan,)",
        PREFIX,
    ),
    Mutant(
        "prefix: cut above what is trained",
        "tlbench.training.frozen_prefix:cache_prefix",
        "output.requires_grad",
        "",
        PREFIX,
    ),
    Mutant(
        "prefix: what is trained beside the groups is forgotten",
        "tlbench.training.frozen_prefix:cache_prefix",
        "features.requires_grad",
        "False",
        PREFIX,
    ),
    Mutant(
        "prefix: outputs that are changed in place",
        "tlbench.training.frozen_prefix:_record_outputs.recorder.record",
        "output.clone()",
        "output",
        PREFIX,
    ),
    Mutant(
        "prefix: frozen layers run in training mode",
        "tlbench.training.supervised_loop:train_classifier",
        ("for module in stage.frozen:\n    module.eval()"),
        "",
        PREFIX,
    ),
    Mutant(
        "unfreezing: patience ends it before the stem",
        "tlbench.methods.gradual_unfreezing:fit",
        "(len(stages) - 1) * cfg.epochs_per_stage",
        "0",
        THAW,
    ),
)
