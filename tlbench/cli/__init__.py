"""The command line: each command is the file of its name, a few lines over the rooms that do the work."""

from tlbench.cli.app import main

__all__ = ["main"]
