"""The report of a suite, made from MLflow alone: what was run, what it scored, what it cost, and how sure that is."""
