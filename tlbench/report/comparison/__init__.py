"""Comparisons of two things that a user names: selections of results, or snapshots of a report."""
