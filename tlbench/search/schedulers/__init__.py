"""Search schedulers: which trials stop early or change on the way. One scheduler, one file.

What such a file defines is described in :mod:`tlbench.search.scheduler`.
"""
