"""Samplers: what proposes the configurations of a search. One sampler, one file (see :mod:`tlbench.search.sampler`)."""
