"""Hyper-parameter search without Ray: spaces, problems, studies, what proposes trials and what ends them."""
