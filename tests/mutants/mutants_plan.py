"""Defects of plans as they are stored and read, of the classes of queries, and of pre-training runs that vary."""

from __future__ import annotations

from mutant import Mutant

PLANNED = "tests/report/test_planned.py"
STORED = "tests/store/test_planned_cells.py"
SEEDS = "tests/suite/test_pretrain_seeds.py"
CELLS = "tests/report/test_comparable_cells.py"

MUTANTS = [
    Mutant(
        "plan: parts of two plans are put together",
        "tlbench.store.mlflow.planned_cells:read_plan_tags",
        'head["format"] != _FORMAT or head["sha256"] != _hash(packed)',
        'head["format"] != _FORMAT',
        f"{STORED}::test_what_is_no_whole_plan_is_none",
    ),
    Mutant(
        "plan: whatever is stored is unpacked",
        "tlbench.store.mlflow.planned_cells:_unpacked",
        "unpacking.decompress(packed, _MOST_BYTES)",
        "unpacking.decompress(packed)",
        f"{STORED}::test_what_would_fill_the_memory_is_not_unpacked",
    ),
    Mutant(
        "plan: seeds of the first listing only",
        "tlbench.core.planned_setting:merge_settings",
        "seeds.setdefault(setting, {}).update(dict.fromkeys(each.seeds))",
        "seeds.setdefault(setting, dict.fromkeys(each.seeds))",
        f"{STORED}::test_merged_settings_have_every_seed_once",
    ),
    Mutant(
        "plan: the plan of an earlier version counts",
        "tlbench.store.mlflow.stored_experiment:StoredExperiment.plan",
        "settings = None",
        "pass",
        f"{STORED}::test_a_plan_that_an_earlier_tlbench_has_overwritten_is_none",
    ),
    Mutant(
        "plan: labels know of finished cells only",
        "tlbench.report.labels:labels_of",
        "settings = planned or ()",
        "settings = ()",
        f"{PLANNED}::test_options_have_the_same_label_before_and_after_they_are_run",
    ),
    Mutant(
        "plan: transductive methods are planned as others",
        "tlbench.report.planned:planned_cells",
        "protocol if False in kinds else protocol + TRANSDUCTIVE",
        "protocol",
        f"{PLANNED}::test_what_is_planned_of_a_transductive_method_is_transductive",
    ),
    Mutant(
        "plan: results of earlier versions hide what is missing",
        "tlbench.report.planned:planned_and_finished",
        "len(have & asked)",
        "len(have)",
        "tests/report/test_report_data.py::test_what_is_missing_is_what_was_planned",
    ),
    Mutant(
        "episodic: classes of queries in the order of the episode",
        "tlbench.protocols.episodic:_classes_of_queries",
        "labels.numpy()",
        "labels.sort(1).values.numpy()",
        "tests/protocols/test_protocols.py::test_the_class_of_every_query_is_stored_in_the_order_of_its_bit",
    ),
    Mutant(
        "episodic: positions instead of classes",
        "tlbench.protocols.episodic:_classes_of_queries",
        "np.array(test_classes)[positions]",
        "positions",
        "tests/protocols/test_protocols.py::test_the_class_of_every_query_is_stored_in_the_order_of_its_bit",
    ),
    Mutant(
        "record: no classes change the digest",
        "tlbench.core.record:Outcome._to_stored",
        "del stored[name]",
        "pass",
        "tests/core/test_record.py::test_digests_of_records_without_classes_never_change",
    ),
    Mutant(
        "record: answers of another number are taken",
        "tlbench.core.record:_unpack",
        "len(found) != size or not unpacking.eof",
        "not unpacking.eof",
        "tests/core/test_record.py",
    ),
    Mutant(
        "pretrain_seeds: every cell rests on the first run",
        "tlbench.suite.expand:expand",
        "runs[seed % len(runs)]",
        "runs[0]",
        f"{SEEDS}::test_each_cell_rests_on_the_run_that_goes_with_its_seed",
    ),
    Mutant(
        "pretrain_seeds: the suite has the last word",
        "tlbench.suite.spec:Suite.pretrain_seeds_of",
        "grid.pretrain_seeds is None",
        "self.pretrain_seeds is not None",
        f"{SEEDS}::test_a_list_names_the_seeds_and_a_grid_has_the_last_word",
    ),
    Mutant(
        "pretrain_seeds: runs before the last stay one",
        "tlbench.suite.spec:PretrainSpec.with_seed",
        "self.after.with_seed(seed)",
        "self.after",
        f"{SEEDS}::test_all_runs_of_a_chain_have_the_seed",
    ),
    Mutant(
        "pretrain_seeds: cells have the ids of those of one run",
        "tlbench.core.cell:BackboneChoice.cell_key",
        "digest([self.key, self.group]) if self.group else self.key",
        "self.key",
        f"{SEEDS}::test_cells_that_vary_have_ids_and_rows_of_their_own_and_share_weights",
    ),
    Mutant(
        "pretrain_seeds: a seed in the recipe is passed over",
        "tlbench.suite.check_pretrain_seeds:_own_seeds",
        '"seed" in pretrain',
        "False",
        f"{SEEDS}::test_mistakes_are_told_with_their_line",
    ),
    Mutant(
        "report: runs that go with the seeds are versions of one another",
        "tlbench.report.comparable_cells:_newest",
        'group.where(group != "", newest_first["backbone_key"])',
        'newest_first["backbone_key"]',
        f"{CELLS}::test_pre_training_runs_that_go_with_the_seeds_are_no_versions_of_one_another",
    ),
    Mutant(
        "report: one run for some seeds is one run for all",
        "tlbench.report.pretraining_runs:_common",
        "set.intersection(*(_runs(cell) for cell in cells))",
        "set.union(*(_runs(cell) for cell in cells))",
        "tests/report/test_pretraining_runs.py::test_one_run_behind_all_seeds_is_found",
    ),
]
