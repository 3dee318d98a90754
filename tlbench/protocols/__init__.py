"""Protocols: each draws the task, holds the test split, and scores. One protocol, one file."""
