"""Samplers: how the configurations of a search are proposed. One sampler, one file."""
