"""Search: all settings of a suite in one experiment of Ray Tune, every trial in the ledger."""
