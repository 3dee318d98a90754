"""Mutants of the search: spaces, studies, what a trial is worth, and how trials are stored."""

from __future__ import annotations

from mutant import Mutant

SPACE, SETTING, STUDY = "search/space.py", "search/problem.py", "search/study.py"
LEGS, POPULATION, STATES = "core/segments.py", "search/population.py", "worker/segment_states.py"
EPOCHS, ATTEMPT, TRIALS = "training/epoch_loop.py", "worker/fit_cell.py", "report/trials.py"
WORTH, TUNED, OPTUNA = "search/objective.py", "planning/search_plan.py", "search/samplers/optuna.py"
OF_SPACE, OF_STUDIES = "tests/search/test_space.py", "tests/search/test_study.py"
OF_POPULATIONS, OF_LEGS, OF_EPOCHS = (
    "tests/search/test_population.py",
    "tests/worker/test_segments.py",
    "tests/training/test_epoch_loop.py",
)
JUDGES, OF_JUDGES = "runner/tune_scheduler.py", "tests/runner/test_tune_scheduler.py"
PROPOSALS, OF_PROPOSALS = "runner/tune_searcher.py", "tests/runner/test_tune_searcher.py"
OF_FIGURES = "tests/report/test_figures.py"
DECIDING, OF_DECIDING = "suite/search_validation.py", "tests/suite/test_search_validation.py"
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
    Mutant("space: what lasts moves", SPACE, "elif dimension.name in self.lasting:", "elif False:", OF_SPACE),
    Mutant("space: what it hangs on may move", SPACE, "found |= each.when.keys()", "found |= set()", OF_SPACE),
    Mutant(
        "space: moves leave the range",
        SPACE,
        "return self._inside(value * generator",
        "return (value * generator",
        OF_SPACE,
    ),
    Mutant("space: no value is drawn anew", SPACE, "if anew < ANEW or", "if", OF_SPACE),
    Mutant("space: zero is stuck", SPACE, " if value else self.at(generator.random())", "", OF_SPACE),
    Mutant("space: a suite's own may move", SPACE, '"space" not in extra or bool', "bool", OF_SPACE),
    Mutant("space: names change", SPACE, '"when": d.when}', '"when": d.when, "lasting": d.lasting}', OF_SPACE),
    Mutant(
        "setting: a population's size is no part of it",
        SETTING,
        "how += (self.search.trials, ",
        "how += (0, ",
        OF_POPULATIONS,
    ),
    Mutant(
        "setting: uncut ones are searched anew",
        SETTING,
        '"none" if self.search.scheduler == "pbt" and not',
        '"none" if False and not',
        OF_POPULATIONS,
    ),
    Mutant(
        "setting: all methods are cut",
        SETTING,
        "self.protocol.name in self.space.legs and changing",
        "changing",
        OF_POPULATIONS,
    ),
    Mutant(
        "setting: cut where nothing may change",
        SETTING,
        "self.space.legs and changing",
        "self.space.legs",
        OF_POPULATIONS,
    ),
    Mutant("setting: ids do not know the legs", SETTING, "() if found is None else found.legs", "()", OF_POPULATIONS),
    Mutant(
        "legs: equal ones stay apart",
        LEGS,
        "legs[:-1] if legs and canonical",
        "legs[:-1] if False and canonical",
        OF_POPULATIONS,
    ),
    Mutant(
        "legs: end where the winner's did", LEGS, "(WHOLE, legs[-1][1])", "(legs[-1][0], legs[-1][1])", OF_POPULATIONS
    ),
    Mutant("legs: an unchanged one is kept", LEGS, "if len(legs) > 1 else ()", "if legs else ()", OF_POPULATIONS),
    Mutant("legs: no mark is cut", LEGS, "(min(leg[0], mark), leg[1])", "(leg[0], leg[1])", OF_POPULATIONS),
    Mutant("legs: epochs rounded down", LEGS, "-(-mark * total // WHOLE)", "mark * total // WHOLE", OF_EPOCHS),
    Mutant(
        "population: the best are replaced",
        POPULATION,
        "key=lambda record: -(worth",
        "key=lambda record: (worth",
        OF_POPULATIONS,
    ),
    Mutant(
        "population: the worst have children",
        POPULATION,
        "number, trained[:quarter],",
        "number, trained[-quarter:],",
        OF_POPULATIONS,
    ),
    Mutant(
        "population: anybody has children", POPULATION, "number, trained[:quarter],", "number, trained,", OF_POPULATIONS
    ),
    Mutant("population: one is always replaced", POPULATION, "if len(ended) > 1 else 0", "", OF_POPULATIONS),
    Mutant(
        "population: none of three is replaced",
        POPULATION,
        "max(1, len(ended) // QUARTER)",
        "len(ended) // QUARTER",
        OF_POPULATIONS,
    ),
    Mutant("population: failures go on", POPULATION, "sorted(filter(finished, ended)", "sorted(ended", OF_POPULATIONS),
    Mutant(
        "population: children are alike",
        POPULATION,
        "if canonical(found.legs) not in taken:",
        "if True:",
        OF_POPULATIONS,
    ),
    Mutant(
        "population: children do not change",
        POPULATION,
        'setting.space.near(parent.cell["trial"]["values"], generator)',
        'parent.cell["trial"]["values"]',
        OF_POPULATIONS,
    ),
    Mutant("population: one seed for all", POPULATION, '"member", number))', '"member"))', OF_POPULATIONS),
    Mutant(
        "population: what does not count is forgotten",
        POPULATION,
        "setting.space.complete(values)",
        "dict(values)",
        OF_POPULATIONS,
    ),
    Mutant(
        "population: the last leg's seconds",
        POPULATION,
        "(0.0 if parent is None else train_seconds(records[parent], records))",
        "0.0",
        OF_POPULATIONS,
    ),
    Mutant(
        "population: an unfinished generation wins",
        POPULATION,
        "            if ended is not None and any(map(finished, ended)):\n                return ended",
        "            pass",
        OF_POPULATIONS,
    ),
    Mutant(
        "population: goes on without members", POPULATION, "len(self._generations) if over else", "", OF_POPULATIONS
    ),
    Mutant(
        "study: chosen among all",
        STUDY,
        "ended if self._population is None else self._population.finalists",
        "ended",
        OF_POPULATIONS,
    ),
    Mutant(
        "study: a generation begins too early",
        STUDY,
        "return self._population.trial(number)",
        "return self._population.trial(min(number, 8))",
        OF_POPULATIONS,
    ),
    Mutant(
        "epochs: the optimiser's old rates",
        EPOCHS,
        "if isinstance(part, torch.optim.Optimizer):",
        "if False:",
        OF_EPOCHS,
    ),
    Mutant("epochs: no moments", EPOCHS, "state = {**state, ", "state = {**part.state_dict(), ", OF_EPOCHS),
    Mutant(
        "epochs: a leg is not kept",
        EPOCHS,
        "if self._until is not None and self._epoch > began:",
        "if False:",
        OF_EPOCHS,
    ),
    Mutant(
        "epochs: a leg does not end",
        EPOCHS,
        "self.total if self._until is None else self._until",
        "self.total",
        OF_EPOCHS,
    ),
    Mutant(
        "epochs: legs that are over are written",
        EPOCHS,
        "if self._until is not None and self._epoch > began:",
        "if self._until is not None:",
        f"{OF_EPOCHS}::test_a_leg_that_is_over_changes_nothing_and_the_best_epoch_is_remembered",
    ),
    Mutant(
        "legs: every training is cut",
        "training/context.py",
        'epochs_until(self.until, total) if name == "fit" else total',
        "epochs_until(self.until, total)",
        OF_EPOCHS,
    ),
    Mutant("attempt: legs share a network", ATTEMPT, "copy.deepcopy(backbone), ", "backbone, ", OF_LEGS),
    Mutant("attempt: legs begin by chance", ATTEMPT, "        cell=cell.root,\n", "        cell=cell.id,\n", OF_LEGS),
    Mutant(
        "attempt: legs before are left out",
        ATTEMPT,
        "for until, values in earlier:",
        "for until, values in ():",
        OF_LEGS,
    ),
    Mutant("states: never read", STATES, "start = _lay(cell, cell.trial, artifacts, scratch)", "pass", OF_LEGS),
    Mutant("states: laid over a checkpoint", STATES, 'and not list(scratch.glob("*.ckpt"))', "", OF_LEGS),
    Mutant(
        "states: the newest, whatever came before",
        STATES,
        "digest([before(cell.legs, mark), ",
        "digest([mark, ",
        OF_LEGS,
    ),
    Mutant("states: kept for ever", STATES, "> _GIVEN_UP", "> 99 * _GIVEN_UP", OF_LEGS),
    Mutant(
        "report: a leg counts as a trial",
        TRIALS,
        "1 / len(GENERATIONS) if legs else 1.0",
        "1.0",
        "tests/runner/test_run_searches.py::test_a_population_goes_on_where_it_was_and_is_the_same_without_a_cluster",
    ),
    Mutant("report: the first leg of the default", TRIALS, 'transform("max")', 'transform("min")', OF_FIGURES),
    Mutant("judges: judged again after a death", JUDGES, "self._judged.get(name, 0)", "0", OF_JUDGES),
    Mutant("judges: by Tune's own name", JUDGES, "str(self.number)", "str(id(self))", OF_JUDGES),
    Mutant("deaths: none is forgiven", PROPOSALS, "started.deaths < RETRIES", "False", OF_PROPOSALS),
    Mutant("deaths: what took too long is tried again", PROPOSALS, "reason is None and", "", OF_PROPOSALS),
    Mutant("deaths: the time before the death counts", PROPOSALS, "- started.since)", "- started.began)", OF_PROPOSALS),
    Mutant("hours: no end of them", PROPOSALS, " or self._caps.reached", "", OF_PROPOSALS),
    Mutant("weights: another waits for none", PROPOSALS, "self._missing(key) & others", "False", OF_PROPOSALS),
    Mutant("deciding: steps decide", DECIDING, 'frozenset({"last"})', "frozenset()", OF_DECIDING),
    Mutant("deciding: a point of nats", DECIDING, "cost and validator not in SHARES", "False", OF_DECIDING),
    Mutant(
        "deciding: no point of source accuracy", DECIDING, '"accuracy", "source_accuracy"', '"accuracy"', OF_DECIDING
    ),
    Mutant(
        "deciding: any objective is refused",
        DECIDING,
        'objective == "accuracy_and_cost"',
        'objective != ""',
        OF_DECIDING,
    ),
    Mutant(
        "deciding: what is not searched is refused",
        DECIDING,
        "any(searched_space(spec, suite, catalog) for spec in grid.methods)",
        "suite.search is not None",
        OF_DECIDING,
    ),
    Mutant("deciding: at another line", DECIDING, '("grids", position, VALIDATOR)', '("grids", position)', OF_DECIDING),
    Mutant(
        "deciding: the file is not asked",
        "suite/load.py",
        "if problems := list(undecided(suite, catalog)):",
        "if False:",
        OF_DECIDING,
    ),
    Mutant(
        "deciding: the note a grid", DECIDING, "dict.fromkeys(grid.protocol for", "list(grid.protocol for", OF_DECIDING
    ),
    Mutant("deciding: a note without a judge", DECIDING, "suite.search.scheduler not in _ENDING", "False", OF_DECIDING),
    Mutant("deciding: medians are not noted", DECIDING, '"asha", "median"', '"asha"', OF_DECIDING),
    Mutant(
        "deciding: nobody reads the note",
        "planning/prepare.py",
        "            *ends_no_trial(suite, names),\n",
        "",
        OF_DECIDING,
    ),
)
