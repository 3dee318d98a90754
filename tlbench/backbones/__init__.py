"""Backbones: one family of architectures, one file. Nothing here imports torch at the top of a module that lists names."""
