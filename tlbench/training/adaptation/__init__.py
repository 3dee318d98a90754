"""Bringing two domains together: losses, discriminators and the loop that trains them."""
