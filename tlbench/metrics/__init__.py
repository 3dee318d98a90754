"""Metrics: one file each, with the value of a metric and what each test example contributes to it.

A file sets the constants of :class:`tlbench.plugins.metrics.MetricConstants` and defines

* ``value(logits, labels)``: the metric of logits (n, classes) for labels (n,), a number;
* ``influence(logits, labels)``, if it can: what each example contributes beyond the value (n,), with mean zero: the
  empirical influence function (F. R. Hampel 1974, JASA 69:383). Intervals and paired tests rest on it. Without one,
  groups of examples are left out in turn.

Third parties add a metric with an entry point of the group ``tlbench.metrics``: name -> module.
"""
