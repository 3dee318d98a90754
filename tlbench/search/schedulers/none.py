"""No trial stops early."""
