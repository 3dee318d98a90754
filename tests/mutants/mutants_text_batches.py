"""Mutants of texts beside texts of their length."""

from __future__ import annotations

from mutant import Mutant

BATCHES, LOOP, FEATURES = "training/batches.py", "training/supervised_loop.py", "training/frozen_features.py"
TESTS = "tests/training/test_text_batches.py"

MUTANTS = (
    Mutant(
        "text batches: a piece counts as a batch",
        BATCHES,
        "*self._examples.take(own), batch.size)",
        "*self._examples.take(own), len(own))",
        TESTS,
    ),
    Mutant(
        "text batches: pieces of any lengths",
        BATCHES,
        "order = lengths[batch.rows].argsort(stable=True)",
        "order = torch.arange(len(batch.rows))",
        TESTS,
    ),
    Mutant(
        "text batches: places for rows",
        BATCHES,
        "[batch.rows[places] for places in order.tensor_split(count)]",
        "list(order.tensor_split(count))",
        TESTS,
    ),
    Mutant("text batches: the last piece is lost", BATCHES, "for own in rows]", "for own in rows[:-1]]", TESTS),
    Mutant("text batches: shares are cut, too", BATCHES, " or self._ctx.world > 1:", ":", TESTS),
    Mutant("text batches: cut on a GPU", BATCHES, ' or self._ctx.device.type != "cpu"', "", TESTS),
    Mutant("text batches: tiny pieces", BATCHES, "len(batch.rows) // _LEAST", "len(batch.rows)", TESTS),
    Mutant(
        "text batches: gradients of the last piece only",
        LOOP,
        "            with ctx.autocast():\n",
        "            optimizer.zero_grad(set_to_none=True)\n            with ctx.autocast():\n",
        TESTS,
    ),
    Mutant(
        "text batches: a penalty on each piece",
        LOOP,
        "if piece is last and penalty is not None",
        "if penalty is not None",
        TESTS,
    ),
    Mutant(
        "text batches: the loss of the last piece is logged",
        LOOP,
        "            seen += losses.detach().sum()\n",
        "        seen += losses.detach().sum()\n",
        TESTS,
    ),
    Mutant(
        "text batches: lengths without the ends",
        "training/length_buckets.py",
        "(x != x[:, -1:])",
        "(x != 7)",
        TESTS,
    ),
    Mutant(
        "text batches: evaluation in any order",
        "training/evaluation.py",
        "own = own[examples.lengths[own].argsort(stable=True)]",
        "pass",
        TESTS,
    ),
    Mutant(
        "text batches: embeddings stay in the order of lengths",
        FEATURES,
        "return z if places is None else torch.empty_like(z).index_copy_(0, torch.from_numpy(places), z)",
        "return z",
        TESTS,
    ),
    Mutant(
        "text batches: embeddings of other rows",
        FEATURES,
        "places if rows is None else rows[places]",
        "places",
        TESTS,
    ),
    Mutant("text batches: embedded in any order", FEATURES, "if x.ndim != 2:", "if True:", TESTS),
)
