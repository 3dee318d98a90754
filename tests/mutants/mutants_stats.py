"""Mutants of the statistics, of what is recommended, compared and frozen."""

from __future__ import annotations

from mutant import Mutant

INTERVALS, CONTRASTS, PAIRWISE = "stats/intervals.py", "stats/contrasts.py", "stats/pairwise.py"
CORRECTNESS, WILCOXON, SPREAD = "stats/correctness.py", "stats/wilcoxon.py", "stats/spread.py"
RECOMMEND, COMPARE, FREEZE, CHANGES = (
    "report/recommend.py",
    "report/compare.py",
    "report/freeze.py",
    "report/changes.py",
)
OF_FAMILIES, OF_PAIRS = "tests/stats/test_contrasts_of_families.py", "tests/stats/test_pairwise.py"
OF_BITS, OF_WILCOXON = "tests/stats/test_correctness.py", "tests/stats/test_wilcoxon.py"
OF_ADVICE, OF_COMPARE = "tests/report/test_recommend.py", "tests/report/test_compare.py"
OF_FREEZE = "tests/report/test_freeze.py"

MUTANTS = (
    Mutant(
        "stats: new datasets counted by seeds",
        INTERVALS,
        "return mean_interval(dataset_means(scores).values(), level)",
        "return nested_mean(scores, level)",
        f"{OF_FAMILIES}::test_new_datasets_are_scipys_t_test_over_the_datasets_differences",
    ),
    Mutant(
        "stats: shots taken for datasets",
        "stats/scores.py",
        "by_shots.setdefault(dataset, []).append(fmean(by_seed.values()))",
        "by_shots.setdefault(dataset, []).extend(by_seed.values())",
        "tests/stats/test_scores.py",
    ),
    Mutant(
        "stats: common cells of any two rows",
        "stats/scores.py",
        "set.intersection(*cells)",
        "set.union(*cells)",
        "tests/stats/test_scores.py",
    ),
    Mutant(
        "stats: degrees of freedom as they come",
        CONTRASTS,
        "min(estimate.dof, most)",
        "estimate.dof",
        f"{OF_FAMILIES}::test_one_noisy_dataset_raises_no_false_alarms",
    ),
    Mutant(
        "stats: only the last variance is pooled",
        CONTRASTS,
        "part.variance + (pooled[block].variance if block in pooled else 0.0)",
        "part.variance",
        f"{OF_FAMILIES}::test_degrees_of_freedom_are_at_most_those_of_the_pooled_variances",
    ),
    Mutant(
        "stats: a mirrored interval keeps its ends",
        CONTRASTS,
        "low = None if estimate.high is None else -estimate.high",
        "low = None if estimate.low is None else -estimate.low",
        f"{OF_FAMILIES}::test_a_mirrored_contrast_is_the_contrast_of_the_other_side",
    ),
    Mutant(
        "stats: intervals of all pairs are not simultaneous",
        PAIRWISE,
        "tests = max(1, comb(len(rows), 2))",
        "tests = 1",
        f"{OF_PAIRS}::test_intervals_and_p_values_are_bonferronis_over_six_pairs",
    ),
    Mutant(
        "stats: ranks upside down",
        PAIRWISE,
        "(1 + own.count(-1), rows - own.count(1))",
        "(1 + own.count(1), rows - own.count(-1))",
        f"{OF_PAIRS}::test_ranks_by_hand",
    ),
    Mutant(
        "stats: the best by two-sided tests",
        PAIRWISE,
        "contrast.p / 2 < alarm",
        "contrast.p < alarm",
        f"{OF_PAIRS}::test_the_best_are_one_sided_tests_over_the_rivals_of_each",
    ),
    Mutant(
        "stats: the winner falls out",
        PAIRWISE,
        "beaten.add(second if contrast.estimate.mean > 0 else first)",
        "beaten.add(first if contrast.estimate.mean > 0 else second)",
        f"{OF_PAIRS}::test_the_best_are_one_sided_tests_over_the_rivals_of_each",
    ),
    Mutant(
        "stats: the best on whatever cells there are",
        PAIRWISE,
        "shared = common_cells(rows).rows",
        "shared = dict(rows)",
        f"{OF_PAIRS}::test_the_best_are_found_on_common_cells",
    ),
    Mutant(
        "stats: a difference of the margin is a win",
        "stats/wins.py",
        "reach = margin + 1e-12",
        "reach = margin - 1e-6",
        "tests/stats/test_wins.py",
    ),
    Mutant(
        "stats: one-sided McNemar",
        CORRECTNESS,
        "min(1.0, 2.0 * float(",
        "min(1.0, 1.0 * float(",
        f"{OF_BITS}::test_one_seed_is_statsmodels_exact_test",
    ),
    Mutant(
        "stats: seeds' answers taken for further examples",
        CORRECTNESS,
        "units = _grouped(gain, group).sum((0, 2))",
        "units = _grouped(gain, group).sum(2).ravel()",
        f"{OF_BITS}::test_one_method_under_two_names_is_rarely_significant_however_many_seeds",
    ),
    Mutant(
        "stats: training noise counted as the test set's",
        CORRECTNESS,
        "if seeds > 1:",
        "if seeds > 100:",
        f"{OF_BITS}::test_no_number_of_seeds_averages_the_test_set_away",
    ),
    Mutant(
        "stats: a good seed counted as noise of examples",
        CORRECTNESS,
        "units - means - units.mean(1, keepdims=True) + units.mean()",
        "units - means",
        f"{OF_BITS}::test_a_seed_that_is_good_on_all_examples_is_no_noise_of_examples",
    ),
    Mutant(
        "stats: ties ranked in order",
        WILCOXON,
        "(np.cumsum(counts) - (counts - 1) / 2)[inverse]",
        "np.cumsum(counts)[inverse]",
        f"{OF_WILCOXON}::test_ties_and_zeros_are_all_signs_tried_out",
    ),
    Mutant(
        "stats: zeros take part",
        WILCOXON,
        "values = values[values != 0]",
        "values = values[values != 7]",
        f"{OF_WILCOXON}::test_ties_and_zeros_are_all_signs_tried_out",
    ),
    Mutant(
        "stats: one dataset too few",
        WILCOXON,
        "return 1 + ceil(",
        "return ceil(",
        f"{OF_WILCOXON}::test_the_floor_is_where_the_clearest_of_results_becomes_significant",
    ),
    Mutant(
        "stats: groups that can be extended",
        WILCOXON,
        "closed = closed | {place}",
        "closed = set()",
        f"{OF_WILCOXON}::test_a_diagram_joins_exactly_what_is_not_separable",
    ),
    Mutant(
        "stats: tau without its ties",
        "stats/orderings.py",
        "np.sqrt(untied[0] * untied[1])",
        "untied[0]",
        "tests/stats/test_orderings.py::test_kendall_is_scipys_tau_b_with_and_without_ties",
    ),
    Mutant(
        "stats: what is left out stays in",
        "stats/orderings.py",
        "if stratum[0] != left_out",
        "if stratum != (left_out, '5')",
        "tests/stats/test_orderings.py::test_leaving_out_a_dataset_takes_away_all_its_shots",
    ),
    Mutant(
        "stats: outliers by the spread between rows",
        SPREAD,
        "middle = median(by_seed.values()) if by_seed else 0.0",
        "middle = median(value for each in strata.values() for value in each.values())",
        "tests/stats/test_spread.py::test_three_seeds_of_several_rows_are_enough",
    ),
    Mutant(
        "stats: the floor of a single contrast",
        "stats/resolution.py",
        "level, power, len(known)",
        "level, power, 1",
        "tests/stats/test_resolution.py::test_the_floor_of_a_family_is_the_median_against_all_of_it",
    ),
    Mutant(
        "recommend: the cheapest of all",
        RECOMMEND,
        "cheapest = _cheapest(best)",
        "cheapest = _cheapest([_candidate(row) for row in rows.values()])",
        f"{OF_ADVICE}::test_the_set_and_the_cheapest_of_it",
    ),
    Mutant(
        "recommend: a budget above what was asked for",
        RECOMMEND,
        "return max(below, key=by_shots) if below",
        "return max(measured, key=by_shots) if below",
        f"{OF_ADVICE}::test_a_budget_that_was_not_measured_has_a_stand_in",
    ),
    Mutant(
        "recommend: new datasets judged as these",
        RECOMMEND,
        "new_datasets=True",
        "new_datasets=False",
        f"{OF_ADVICE}::test_new_datasets_are_another_question",
    ),
    Mutant(
        "compare: whatever the backbone",
        COMPARE,
        '_KEYS = ("method", "backbone", "dataset", "shots", "seed")',
        '_KEYS = ("method", "dataset", "shots", "seed")',
        f"{OF_COMPARE}::test_pairs_agree_in_backbone_and_shots_which_are_no_further_datasets",
    ),
    Mutant(
        "compare: nested draws taken for datasets",
        COMPARE,
        "scores.setdefault((cell.dataset, within), {})",
        'scores.setdefault((f"{cell.dataset} {within}", ""), {})',
        f"{OF_COMPARE}::test_pairs_agree_in_backbone_and_shots_which_are_no_further_datasets",
    ),
    Mutant(
        "compare: episodes of other seeds taken for the same",
        COMPARE,
        "if group > 1:",
        "if group > 99:",
        f"{OF_COMPARE}::test_seeds_of_episodes_have_tests_of_their_own",
    ),
    Mutant(
        "compare: answers of some cells only",
        COMPARE,
        "second.correct is None:\n            return None",
        "second.correct is None:\n            continue",
        f"{OF_COMPARE}::test_no_answers_no_test_of_them",
    ),
    Mutant(
        "freeze: hashes that nobody checks",
        FREEZE,
        "if _hash(path) != expected:",
        "if not expected:",
        f"{OF_FREEZE}::test_a_tampered_snapshot_is_not_read",
    ),
    Mutant(
        "freeze: a tag may climb",
        FREEZE,
        "if not _TAG.fullmatch(tag):",
        "if not tag:",
        f"{OF_FREEZE}::test_a_tag_is_a_plain_name",
    ),
    Mutant(
        "changes: seeds that only one has count",
        CHANGES,
        "common = [seed for seed in first.seeds if seed in second.seeds]",
        "common = []",
        f"{OF_FREEZE}::test_what_changed_is_a_paired_test_over_common_seeds",
    ),
)
