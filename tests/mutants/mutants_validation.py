"""Mutants of what chooses and what is fitted to, and of the rule for what a recipe leaves open."""

from __future__ import annotations

from mutant import Mutant

RECIPE, VALIDATION = "tests/training/test_recipe.py", "tests/protocols/test_validation.py"

MUTANTS = (
    Mutant(
        "recipe: published after a run is its own",
        "tlbench.training.recipe:is_published",
        'weights = weights["after"]',
        "break",
        RECIPE,
    ),
    Mutant(
        "recipe: running statistics always move",
        "tlbench.training.recipe:usual_batch_norm",
        '"frozen" if is_published(info) else "train"',
        '"train"',
        RECIPE,
    ),
    Mutant(
        "recipe: a new head over few features is as slow as over many",
        "tlbench.training.recipe:usual_head_rate",
        "max(lr * HEAD_MULTIPLIER, reach)",
        "lr * HEAD_MULTIPLIER",
        RECIPE,
    ),
    Mutant(
        "recipe: as few steps as there are",
        "tlbench.training.recipe:usual_epochs",
        "max(EPOCHS, -(-LEAST_STEPS // steps))",
        "min(EPOCHS, -(-LEAST_STEPS // steps))",
        RECIPE,
    ),
    Mutant(
        "validation: labels are not given back",
        "tlbench.protocols.classification:_chosen_task",
        "np.concatenate([split.train.rows, split.val.rows])",
        "split.train.rows",
        VALIDATION,
    ),
    Mutant(
        "validation: a trial is fitted to what scores it",
        "tlbench.protocols.classification:_run_trial",
        "replace(split, val=None, folds=folds)",
        "replace(draw(info, dataset, seed), val=None, folds=folds)",
        VALIDATION,
    ),
    Mutant(
        "validation: followed examples choose",
        "tlbench.training.supervised_loop:train_classifier",
        "if val is not None:\n    epochs.score(*scores.order)",
        "epochs.score(*scores.order)",
        VALIDATION,
    ),
    Mutant(
        "validation: a fixed epoch is passed",
        "tlbench.training.context:Context._segment_end",
        'int(self.fixed["epoch"]) + 1',
        'int(self.fixed["epoch"]) + 2',
        VALIDATION,
    ),
    Mutant(
        "validation: what only one fold tried counts",
        "tlbench.protocols._choosing:choose_by_fits",
        "all(value in each for each in scores)",
        "True",
        VALIDATION,
    ),
    Mutant(
        "validation: the teacher of a trial knows its labels",
        "tlbench.core.label_budget:without_validation_labels",
        '{**options, "validation": "held_out", "refit": False}',
        "dict(options)",
        VALIDATION,
    ),
    Mutant(
        "shots: a scarce class is held out whole",
        "tlbench.data.sampling:draw_shots",
        "np.maximum(budget - 1, 0)",
        "budget",
        "tests/data/test_sampling.py::test_a_scarce_class_gives_all_that_it_has",
    ),
    Mutant(
        "shots: scarce classes are refused",
        "tlbench.data.sampling:_refuse_few",
        'scarce and shots != "full"',
        "False",
        "tests/data/test_sampling.py::test_a_scarce_class_gives_all_that_it_has",
    ),
)
