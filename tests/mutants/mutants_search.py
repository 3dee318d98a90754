"""Mutants of the search: spaces, studies, what a trial is worth, and how trials are stored."""

from __future__ import annotations

from mutant import Mutant

SPACE, SETTING, STUDY = "core/space.py", "core/setting.py", "execution/search/study.py"
WORTH, TUNED, OPTUNA = "execution/search/worth.py", "execution/search/tuned.py", "execution/search/on_optuna.py"
OF_SPACE, OF_STUDIES = "tests/core/test_space.py", "tests/execution/test_studies.py"
UNFREEZING = "tests/methods/test_gradual_unfreezing.py::test_what_is_deeper_than_the_depth_never_moves"

MUTANTS = (
    Mutant("space: logarithm forgotten", SPACE, '== "log_uniform"', '== "log"', OF_SPACE),
    Mutant("space: conditions ignored", SPACE, "return all(known[name]", "return True or all(known[name]", OF_SPACE),
    Mutant("space: only what was chosen is known", SPACE, "self.defaults | dict(chosen)", "dict(chosen)", OF_SPACE),
    Mutant("space: whole numbers broken", SPACE, "round(value) if self.whole", "value if self.whole", OF_SPACE),
    Mutant("space: the suite's values searched", SPACE, "name not in fixed and", "", OF_SPACE),
    Mutant("space: declared ones always", SPACE, "elif declared and", "elif", OF_SPACE),
    Mutant("space: order of the file", SPACE, "for other in found[name].when:", "for other in ():", OF_SPACE),
    Mutant("space: grid repeats itself", SPACE, "if name not in seen:", "if True:", OF_SPACE),
    Mutant(
        "space: a draw moves the next",
        SPACE,
        "            share = generator.random()",
        "            share = 0.5",
        OF_SPACE,
    ),
    Mutant("setting: draws of a final cell", SETTING, "DRAW = 2**31", "DRAW = 0", OF_STUDIES),
    Mutant(
        "setting: budget decides the trials",
        SETTING,
        "self.search.objective, self",
        "self.search.trials, self",
        OF_STUDIES,
    ),
    Mutant("setting: values lost", SETTING, "self.method.params | dict(values)", "self.method.params", OF_STUDIES),
    Mutant("setting: not marked", SETTING, 'f"{head}(tuned)"', "head", OF_STUDIES),
    Mutant(
        "study: the default comes later",
        STUDY,
        "space.start if number == 1 else",
        "space.start if number == 2 else",
        OF_STUDIES,
    ),
    Mutant("study: repeats itself", STUDY, "if canonical(values) not in seen:", "if True:", OF_STUDIES),
    Mutant("study: all at once", STUDY, "search.trials if search.independent else 1", "search.trials", OF_STUDIES),
    Mutant("study: one after another", STUDY, "search.trials if search.independent else 1", "1", OF_STUDIES),
    Mutant(
        "study: does not wait for the first", STUDY, "(self.running and 1 not in self.records)", "False", OF_STUDIES
    ),
    Mutant("study: budget of seconds ignored", STUDY, "self.spent >= search.gpu_seconds", "False", OF_STUDIES),
    Mutant("study: goes on without validation", STUDY, "            or self.blind\n", "", OF_STUDIES),
    Mutant(
        "study: learns nothing on resume",
        STUDY,
        'learner.take(number, self.records[number].cell["trial"]["values"], self.records[number])',
        "pass",
        OF_STUDIES,
    ),
    Mutant("study: the default counts twice", STUDY, "if canonical(values) != start", "", OF_STUDIES),
    Mutant("worth: loss ignored", WORTH, "value - _TIE *", "value - 0 *", OF_STUDIES),
    Mutant("worth: loss weighs more than accuracy", WORTH, "_TIE = 1e-6", "_TIE = 1e-2", OF_STUDIES),
    Mutant("worth: stopped ones win", WORTH, "and not stopped(record)", "", OF_STUDIES),
    Mutant(
        "worth: the last of equal ones",
        WORTH,
        "next(record for value, record in known",
        "next(record for value, record in known[::-1]",
        OF_STUDIES,
    ),
    Mutant("worth: cost ignored", WORTH, "return min(close,", "return max(close,", OF_STUDIES),
    Mutant("worth: cost goes before all", WORTH, "_CLOSE = 0.01", "_CLOSE = 1.0", OF_STUDIES),
    Mutant("tuned: cells do not wait", TUNED, "not studies[setting.key].ended", "False", OF_STUDIES),
    Mutant("tuned: all methods wait", TUNED, "if cell.method.key not in spaces:", "if False:", OF_STUDIES),
    Mutant(
        "optuna: learns nothing", OPTUNA, "TrialState.COMPLETE, [value", "TrialState.COMPLETE, [0.0 * value", OF_STUDIES
    ),
    Mutant(
        "unfreezing: depth ignored",
        "methods/gradual_unfreezing.py",
        "if depth is None else",
        "if True else",
        UNFREEZING,
    ),
    Mutant(
        "unfreezing: lower groups stay open",
        "methods/gradual_unfreezing.py",
        "parameter.requires_grad_(False)",
        "pass",
        UNFREEZING,
    ),
)
