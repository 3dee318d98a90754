"""Rows of the report: cells aggregated over seeds or over datasets, with intervals and differences to a baseline."""
