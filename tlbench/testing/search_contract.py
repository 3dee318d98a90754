"""The contracts of samplers and search schedulers, as checks that an author runs over a name."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import islice
from random import Random

from tlbench.core.hashing import canonical
from tlbench.core.record import Cost, Outcome, Record
from tlbench.core.segments import WHOLE, Values
from tlbench.search.problem import SearchProblem
from tlbench.search.sampler import sampler
from tlbench.search.scheduler import scheduler
from tlbench.search.study import Study

_TRIALS = 8


def check_sampler(name: str, problem: SearchProblem) -> None:
    """Check that a sampler proposes configurations of the space, and the same ones after a restart.

    Args:
        name: The sampler.
        problem: A search problem of that sampler, with a space of eight configurations or more.
    """
    plugin = sampler(name)
    assert problem.sampler == plugin, "the problem is searched with this sampler"
    first, again = (_search(Study(problem, {}), _TRIALS) for _ in range(2))
    assert first == again, "the same problem has the same trials"
    assert first[0] == problem.space.start, "the default configuration comes first"
    for values in first:
        active: Values = {}
        for dimension in problem.space.dimensions:
            if problem.space.active(dimension, active):
                active[dimension.name] = values[dimension.name]
        assert active.keys() == values.keys(), "exactly the active parameters have values"
    study = Study(problem, {})
    _search(study, 4)
    resumed = Study(problem, copy.copy(study.records))
    assert _search(resumed, _TRIALS) == first, "after a restart it goes on as if nothing had happened"
    if plugin.configurations is not None:
        listed = [canonical(values) for values in islice(plugin.configurations(problem), _TRIALS - 1)]
        assert len(set(listed)) == len(listed), "no configuration is listed twice"
        assert canonical(problem.space.start) not in listed, "the default one is not listed"


def check_scheduler(name: str) -> None:
    """Check that a stopping rule is a function of what it observed, and never stops a trial that leads throughout.

    A scheduler without a rule has nothing to check here: see :func:`check_population`.
    """
    plugin = scheduler(name)
    if plugin.stopping_rule is None:
        return
    for seed in range(20):
        generator = Random(seed)
        curves = [sorted(generator.random() for _ in plugin.checkpoints) for _ in range(12)]
        curves[generator.randrange(len(curves))] = [1.0] * len(plugin.checkpoints)
        decisions, again = (_observe(name, curves) for _ in range(2))
        assert decisions == again, "the same results give the same decisions"
        assert not decisions[curves.index([1.0] * len(plugin.checkpoints))], "a trial that leads throughout goes on"


def check_population(name: str, problem: SearchProblem) -> None:
    """Check that a population's trials are segments of trainings, in an order that the problem alone decides.

    Args:
        name: The scheduler.
        problem: A search problem of that scheduler whose trials are segments.
    """
    plugin = scheduler(name)
    assert plugin.population is not None
    assert problem.segmented
    studies = [Study(problem, {}) for _ in range(2)]
    for study in studies:
        _search(study, study.max_trials)
    trials = [[study.records[number].trial for number in sorted(study.records)] for study in studies]
    assert trials[0] == trials[1]
    for trial in trials[0]:
        assert trial.segments, "every trial has segments"
        assert [segment.until for segment in trial.segments] == sorted({s.until for s in trial.segments})
        assert trial.parent is None or trial.parent < trial.number, "it continues an earlier trial"
    last = max(trial.segments[-1].until for trial in trials[0])
    assert last == WHOLE, "the last generation is trained to the end"


def _search(study: Study, count: int) -> list[Values]:
    """Run trials one after another, with a value that depends on their configuration alone."""
    while len(study.records) < count and (trial := study.propose()) is not None:
        share = int.from_bytes(canonical(trial.values).encode()[-4:], "big") % 1000 / 1000
        outcome = Outcome(scores={}, validation={"accuracy": share, "nll": 1.0})
        cost = Cost(seconds=1, train_seconds=1, cpu_seconds=1, peak_memory=0, gpus=0, cpus=1, started=0)
        description = study.problem.trial_cell(trial).describe()
        study.take(trial.number, Record(cell=description, status="done", outcome=outcome, cost=cost))
    return [study.records[number].trial.values for number in sorted(study.records)]


def _observe(name: str, curves: Sequence[Sequence[float]]) -> list[bool]:
    """Let a rule observe trials side by side, and return which of them it stopped."""
    plugin = scheduler(name)
    assert plugin.stopping_rule is not None
    rule, stopped = plugin.stopping_rule(), [False] * len(curves)
    for place, ninth in enumerate(plugin.checkpoints):
        for trial, curve in enumerate(curves):
            if not stopped[trial]:
                stopped[trial] = rule.observe(trial, ninth, curve[place])
    for trial, curve in enumerate(curves):
        if not stopped[trial]:
            rule.complete(trial, max(curve))
    return stopped
