"""Sentences that several sections, the tables and the terminal have in common."""

TRANSDUCTIVE = "Transductive: an answer may draw on the other queries of its episode. Not comparable with other rows."
UPPER_BOUNDS = "Upper bounds: they see labels that all others are denied, and are never ranked"
