"""Dataset sources. One source, one file, named as in a suite."""
