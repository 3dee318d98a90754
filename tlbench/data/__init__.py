"""Datasets: one source, one file. Nothing here imports torch at the top of a module."""
