"""Where things are kept: artifacts (files by content), the ledger (results), MLflow (results for people)."""
