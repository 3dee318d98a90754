"""The audit: proves on chosen cells that nothing a method must not see reaches it. One question, one file."""
