"""Mutants of parts of datasets, and of sources of several domains."""

from __future__ import annotations

from mutant import Mutant

ROWS, SUBSET, PAIRS = "tlbench.data.subsets", "tlbench.data.sources.subset", "tlbench.suite.domain_pairs"
OF_SUBSETS, OF_PAIRS = "tests/data/test_subsets.py", "tests/data/test_pairs.py"

MUTANTS = (
    Mutant(
        "subset: the first examples",
        f"{ROWS}:sample_rows",
        "(keys, dataset.y[rows], dataset.part[rows])",
        "(dataset.y[rows], dataset.part[rows])",
        OF_SUBSETS,
    ),
    Mutant("subset: one more", f"{ROWS}:sample_rows", "rank < limits", "rank <= limits", OF_SUBSETS),
    Mutant(
        "subset: parts are pooled",
        f"{ROWS}:sample_rows",
        "np.stack([dataset.part[rows], dataset.y[rows]])",
        "np.stack([0 * dataset.part[rows], dataset.y[rows]])",
        OF_SUBSETS,
    ),
    Mutant("subset: any domain", f"{ROWS}:domain_rows", "not wanted", "True", OF_SUBSETS),
    Mutant(
        "subset: domains keep the numbers of the whole",
        f"{SUBSET}:select",
        "np.searchsorted([info.domains.index(name) for name in names], whole.domain[rows])",
        "whole.domain[rows]",
        OF_SUBSETS,
    ),
    Mutant(
        "subset: a part comes from nowhere",
        f"{SUBSET}:open",
        "with_origin(part, within(whole.info.origin, domains[0] if len(domains) == 1 else None))",
        "part",
        OF_SUBSETS,
    ),
    Mutant("subset: nothing is refused", f"{SUBSET}:check", "params.per_class is None", "False", OF_SUBSETS),
    Mutant(
        "pairs: only the first domain of a source is looked at",
        "tlbench.data.sources.pair:_facts",
        "domain_names(side.domain) or (None,)",
        "domain_names(side.domain)[:1] or (None,)",
        OF_PAIRS,
    ),
    Mutant(
        "pairs: the target is among the sources",
        f"{PAIRS}:leave_one_out",
        "name != target",
        "True",
        "tests/planning/test_pairs_in_suites.py::test_each_domain_is_left_out_once",
    ),
)
