"""Plug-ins: found by file name or entry point, declared without importing torch, marked by the code that they reach."""
