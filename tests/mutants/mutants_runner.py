"""Mutants of the runner: leases, deaths and the budget, artifacts that jobs wait for, and the adapters to Tune."""

from __future__ import annotations

from mutant import Mutant

STOPPING, OF_STOPPING = "tlbench.runner.tune_scheduler", "tests/runner/test_tune_scheduler.py"
TRIALS, OF_TRIALS = "tlbench.runner.trial_queue", "tests/runner/test_trial_queue.py"
ATTEMPTS, OF_ATTEMPTS = "tlbench.runner.attempts", "tests/runner/test_attempts.py"
GATE, OF_GATE = "tlbench.runner.artifact_gate", "tests/runner/test_artifact_gate.py"
SCHEDULER, OF_SCHEDULER = "tlbench.runner.scheduler", "tests/runner/test_scheduler.py"

MUTANTS = (
    Mutant(
        "stopping: observed again after a death",
        f"{STOPPING}:TuneScheduler.on_trial_result",
        "self._observed.get(name, 0)",
        "0",
        OF_STOPPING,
    ),
    Mutant(
        "stopping: by Tune's own name",
        f"{STOPPING}:TuneScheduler.on_trial_result",
        'trial.config["number"]',
        "trial.trial_id",
        OF_STOPPING,
    ),
    Mutant("deaths: none is forgiven", f"{ATTEMPTS}:Attempts.after_death", "deaths < MAX_DEATHS", "False", OF_TRIALS),
    Mutant(
        "deaths: what took too long is tried again",
        f"{ATTEMPTS}:Attempts.after_death",
        "if death.overrun:",
        "if False:",
        OF_TRIALS,
    ),
    Mutant(
        "deaths: the time before the death counts",
        f"{TRIALS}:TrialQueue.start",
        "time.time()",
        "trial.began or time.time()",
        OF_TRIALS,
    ),
    Mutant(
        "deaths: only the last one costs",
        f"{ATTEMPTS}:Attempts.failure",
        "seconds + self._seconds_lost[cell.id]",
        "seconds",
        OF_TRIALS,
    ),
    Mutant(
        "deaths: the budget is not charged",
        f"{ATTEMPTS}:Attempts.after_death",
        "self.charge(death.seconds)",
        "",
        OF_ATTEMPTS,
    ),
    Mutant(
        "deaths: jobs queued behind are lost",
        f"{SCHEDULER}:Scheduler._after_death",
        "reversed(event.queued)",
        "()",
        OF_SCHEDULER,
    ),
    Mutant(
        "leases: never renewed", f"{ATTEMPTS}:Attempts.renew", "LEASE_SECONDS / 4", "LEASE_SECONDS * 4", OF_ATTEMPTS
    ),
    Mutant(
        "leases: told of what does not count", f"{ATTEMPTS}:Attempts.commit", "if counted:", "if True:", OF_ATTEMPTS
    ),
    Mutant(
        "hours: no end of them", f"{TRIALS}:TrialQueue.is_closed", "or self._attempts.budget_is_used_up", "", OF_TRIALS
    ),
    Mutant(
        "weights: another waits for none",
        f"{TRIALS}:TrialQueue._next",
        "self._gate.blocked(self._first[key])",
        "False",
        OF_TRIALS,
    ),
    Mutant(
        "gate: those wait for ever whose builder died",
        f"{GATE}:ArtifactGate.abandon",
        "self._under_way.discard(artifact.id)",
        "",
        OF_GATE,
    ),
    Mutant("gate: lost machines have files", f"{GATE}:ArtifactGate.start_stage", "node in machines", "True", OF_GATE),
    Mutant(
        "gate: fetched though it is there",
        f"{GATE}:ArtifactGate.copies_for",
        "location.store not in copies",
        "True",
        OF_GATE,
    ),
    Mutant(
        "gate: cells start before all is there",
        f"{GATE}:ArtifactGate.built",
        "if not self._lacking[job.id]:",
        "if True:",
        OF_GATE,
    ),
    Mutant(
        "gate: what depends on a failure waits on",
        f"{GATE}:ArtifactGate.failed",
        "cells += self.failed(job)",
        "",
        OF_GATE,
    ),
)
