"""Few-shot learning: training on episodes, and solving them."""
