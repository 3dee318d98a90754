"""Augmentation of image batches on their device; parameters of each image, drawn from a generator on the CPU.

Images are raw: (B, C, H, W) with values in [0, 255], as datasets hold them; the network normalises them itself.
"""
