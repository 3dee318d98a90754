"""The audit: checks on chosen cells that no label reaches a method which must not see it."""
