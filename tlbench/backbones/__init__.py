"""Backbones: one family of architectures, one file. What lists and describes them imports no torch."""
