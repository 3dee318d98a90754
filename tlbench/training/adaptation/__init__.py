"""Domain adaptation: losses that align two domains, discriminators, and the loop that trains on both domains."""
