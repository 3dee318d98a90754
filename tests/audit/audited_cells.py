"""Grids that are audited, and what an honest cell of them gives."""

from __future__ import annotations

from small_suites import CORPUS

from tlbench.audit.results import BATCHES, TEST_LABELS

TINY = {"name": "conv4", "width": 4}
PAIR = {"name": "pair", "source": CORPUS, "target": "digits"}
EPISODES = {"protocol": "episodic", "ways": 3, "episodes": 5, "queries": 3, "shots": [1], "datasets": ["glyphs"]}
HONEST = {TEST_LABELS: "passed", BATCHES: "passed"}

Results = dict[str, tuple[str, str]]
"""Verdict and detail of each check of a cell."""


def verdicts(results: Results) -> dict[str, str]:
    return {check: verdict for check, (verdict, _) in results.items()}
