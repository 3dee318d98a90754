"""Statistics over seeds and datasets: intervals, paired contrasts and corrections for multiple comparisons.

How results are pooled, from the innermost level outwards:

* **Episodes within a seed** are many draws of one fitted learner: ``1.96 sd / sqrt(n)``. This says nothing about the
  variation between training runs, so it is never combined with the interval over seeds.
* **Seeds within a stratum** (one dataset at one number of shots) are independent repetitions of sampling, training and
  test episodes: Student's t with ``n - 1`` degrees of freedom.
* **Shots within a dataset** are nested samples of one seed, hence not independent: they are averaged seed by seed.
* **Test sets** are finite, and all seeds of a dataset share one: their error is estimated from the answers to single
  examples (in episodes, where classes return, from test classes) and added to that of seeds, which does not contain it.
* **Datasets** are independent strata of unequal variance: the mean of their means, with Welch-Satterthwaite degrees of
  freedom. It is a claim about *these* datasets; new datasets may behave differently.
* **Two methods** are compared seed by seed (same seed = same shots and episodes) on the cells that both have. A
  missing cell is never imputed.
* Fewer than two seeds give no interval; rows with fewer than :data:`RANKED_SEEDS` seeds are shown, but not ranked.

Claims, and the tests behind them:

* *On these datasets*: Welch-Satterthwaite over strata, with the error of test sets beside that of seeds. *On new
  datasets*: Student's t over the datasets' differences, however many seeds there are.
* *Better than the baseline*: Holm over its k - 1 contrasts. *The rank is between a and b*, and *the best*: simultaneous
  over all pairs. Both moderate the variances over seeds within their family.
* *May be the best*: each row against the leader, one-sided, over k - 1.
* *As good as the leader*: non-inferiority, by the simultaneous lower bound of all pairs against a margin.
* *One trained model against another*: McNemar's exact test on the examples of one test set.
* *Over many datasets*: signed-rank tests, only where there are enough datasets for any result to be significant.
"""

RANKED_SEEDS = 3
"""Fewest seeds per (dataset, shots) with which a row is ranked."""
