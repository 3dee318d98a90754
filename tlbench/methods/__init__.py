"""Methods: one way to transfer, one file; the file's name is the method's name."""
