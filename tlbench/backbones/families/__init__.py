"""Backbone families. One family, one file."""
