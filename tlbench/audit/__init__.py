"""The audit: shows on chosen cells that nothing a method must not see reaches it. One question, one file."""
