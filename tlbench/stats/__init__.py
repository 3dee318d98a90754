"""What a few seeds and a few datasets can honestly say: intervals, paired contrasts and their correction.

How results are pooled, from the inside out:

* **Episodes within a seed** are many draws of one fitted learner: ``1.96 sd / sqrt(n)``. This says nothing about what
  another training run would give, so it is never added to, or mixed with, the interval over seeds.
* **Seeds within a stratum** (one dataset at one number of shots) are independent repeats of draw, training and test
  episodes: Student's t with ``n - 1`` degrees of freedom.
* **Shots within a dataset** are nested draws of one seed, hence not independent: they are averaged seed by seed.
* **Datasets** are independent strata of unequal variance: the mean of their means, with Welch-Satterthwaite degrees of
  freedom. It is a claim about *these* datasets; new datasets may behave differently.
* **Two methods** are compared seed by seed (same seed = same shots and episodes) on the cells that both have. A
  missing cell is never imputed.
* Fewer than two seeds give no interval; fewer than :data:`RANKED_SEEDS` are shown, but not ranked.

What is claimed, and over what:

* *On these datasets*: Welch-Satterthwaite over strata. *On new datasets*: Student's t over the datasets' differences,
  however many seeds there are.
* *Better than the baseline*: Holm over its k - 1 contrasts. *The rank is between a and b*: simultaneous over all pairs.
  *May be the best*: each row against each other, one-sided, over k - 1.
* *On these test examples*: exact tests and errors from the bit of every example, which no number of seeds replaces.
* *Over many datasets*: signed ranks, and only from the number of datasets on with which they can find anything.
"""

RANKED_SEEDS = 3
