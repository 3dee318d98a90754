"""Self-supervised learning: contrastive learning of images, and masked language modelling."""
