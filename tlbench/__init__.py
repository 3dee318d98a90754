"""tlbench compares transfer-learning methods on equal terms: one YAML suite in, one leaderboard out."""

from importlib.metadata import version

__version__ = version("tlbench")
