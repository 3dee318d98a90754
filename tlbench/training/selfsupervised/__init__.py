"""Learning from inputs without labels: contrastive pairs of images, and masked texts."""
