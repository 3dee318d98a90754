"""Tree-structured Parzen estimators (Optuna), which learn from the trials before; with one objective or two.

Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization", NeurIPS 24, section 4; jointly over parameters as
in Falkner et al. 2018, arXiv:1807.01774; several objectives as in Ozaki et al. 2022, JAIR 73.
"""

from __future__ import annotations

from tlbench.search.problem import SearchProblem
from tlbench.search.sampler import Sampler


def create(problem: SearchProblem) -> Sampler:
    """Return the sampler of a search problem, before any trial."""
    from tlbench.search.samplers._tree_parzen import TreeParzenSampler  # imports Optuna

    return TreeParzenSampler(problem)
