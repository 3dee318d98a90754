"""Evaluation protocols: each samples the task, holds the test split, and scores. One protocol, one file."""
