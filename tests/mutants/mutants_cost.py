"""Defects of bills: who computed features first, what is read, shared trainings, unlike devices."""

from __future__ import annotations

from mutant import Mutant

BILLS = "tests/worker/test_billing.py"
COSTS = "tests/report/test_costs.py"
METER = "tlbench.worker.cost_meter:CostMeter"
FIRST = f"{BILLS}::test_whoever_comes_first_the_same_features_cost_the_same"

MUTANTS = [
    Mutant(
        "bills: who computes features pays for all of them",
        METER,
        "if self.features is None:\n            return measured",
        "if True:\n            return measured",
        FIRST,
    ),
    Mutant("bills: features are free", METER, "if self.features is None or not examples:", "if True:", FIRST),
    Mutant(
        "bills: an example is embedded as often as it is read",
        "tlbench.training.frozen_features:FrozenFeatures",
        "self._read[rows] = True",
        "self._read = np.ones(self._read.sum() + len(rows), dtype=bool)",
        f"{BILLS}::test_a_trial_is_billed_for_what_it_reads_and_reads_no_test",
    ),
    Mutant(
        "bills: a cell pays for what others have read",
        "tlbench.training.frozen_features:FrozenFeatures",
        "own._read = np.zeros_like(self._read)",
        "own._read = self._read",
        f"{BILLS}::test_a_trial_is_billed_for_what_it_reads_and_reads_no_test",
    ),
    Mutant(
        "bills: an earlier attempt is forgotten",
        METER,
        "self._before + self._own(measured)",
        "self._own(measured)",
        f"{BILLS}::test_what_an_earlier_attempt_spent_until_its_checkpoint_is_on_the_bill",
    ),
    Mutant(
        "bills: the other processes of a group work for nothing",
        METER,
        "_Spent(self._cpu_of_others, 0)",
        "_Spent(0, 0)",
        f"{BILLS}::test_the_cpu_seconds_of_a_group_are_those_of_all_its_processes",
    ),
    Mutant(
        "costs: a shared training counts once a cell",
        "tlbench.report.rows.cost:cost",
        "tuple(dict.fromkeys(each for cell in group for each in cell.shared))",
        "tuple(each for cell in group for each in cell.shared)",
        f"{COSTS}::test_a_shared_training_counts_once_and_says_how_many_cells_share_it",
    ),
    Mutant(
        "costs: seconds of GPUs and of CPUs have one median",
        "tlbench.report.rows.cost:cost",
        "len(devices) == 1",
        "devices",
        f"{COSTS}::test_seconds_of_unlike_devices_are_never_put_in_one_figure_or_median",
    ),
    Mutant(
        "costs: wall seconds stand among bills",
        "tlbench.report.sections.cost:frame",
        'key == "seconds" and billed',
        "False",
        f"{COSTS}::test_the_figure_is_drawn_by_bills",
    ),
    Mutant(
        "objective: the clock decides what is cheap",
        "tlbench.search.objective:price_of",
        "billed is None",
        "True",
        "tests/search/test_study.py::test_who_wins",
    ),
]
