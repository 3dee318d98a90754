"""Mutants of texts beside texts of their length."""

from __future__ import annotations

from mutant import Mutant

BATCHES, LOOP, FEATURES = (
    "tlbench.training.batches",
    "tlbench.training.supervised_loop",
    "tlbench.training.frozen_features",
)
TESTS = "tests/training/test_text_batches.py"

MUTANTS = (
    Mutant(
        "text batches: a piece counts as a batch",
        f"{BATCHES}:Batches.pieces",
        "batch.size",
        "len(own)",
        TESTS,
    ),
    Mutant(
        "text batches: pieces of any lengths",
        f"{BATCHES}:Batches.pieces",
        "lengths[batch.rows].argsort(stable=True)",
        "torch.arange(len(batch.rows))",
        TESTS,
    ),
    Mutant(
        "text batches: places for rows",
        f"{BATCHES}:Batches.pieces",
        "[batch.rows[places] for places in order.tensor_split(count)]",
        "list(order.tensor_split(count))",
        TESTS,
    ),
    Mutant(
        "text batches: the last piece is lost",
        f"{BATCHES}:Batches.pieces",
        "for own in rows",
        "for own in rows[:-1]",
        TESTS,
    ),
    Mutant("text batches: shares are cut, too", f"{BATCHES}:Batches.pieces", "or self._ctx.world > 1", "", TESTS),
    Mutant("text batches: cut on a GPU", f"{BATCHES}:Batches.pieces", 'or self._ctx.device.type != "cpu"', "", TESTS),
    Mutant("text batches: tiny pieces", f"{BATCHES}:Batches.pieces", "// _LEAST", "", TESTS),
    Mutant(
        "text batches: gradients of the last piece only",
        f"{LOOP}:_train_epoch",
        ("with ctx.autocast():\n    logits = stage.wrapped(piece.x)"),
        ("optimizer.zero_grad(set_to_none=True)\nwith ctx.autocast():\n    logits = stage.wrapped(piece.x)"),
        TESTS,
    ),
    Mutant(
        "text batches: a penalty on each piece",
        f"{LOOP}:_train_epoch",
        "piece is last",
        "",
        TESTS,
    ),
    Mutant(
        "text batches: the loss of the last piece is logged",
        f"{LOOP}:_train_epoch",
        "seen += losses.detach().sum()",
        "if piece is last:\n    seen += losses.detach().sum()",
        TESTS,
    ),
    Mutant(
        "text batches: lengths without the ends",
        "tlbench.training.length_buckets:text_lengths",
        "x[:, -1:]",
        "7",
        TESTS,
    ),
    Mutant(
        "text batches: evaluation in any order",
        "tlbench.training.evaluation:evaluate",
        "own = own[examples.lengths[own].argsort(stable=True)]",
        "pass",
        TESTS,
    ),
    Mutant(
        "text batches: embeddings stay in the order of lengths",
        f"{FEATURES}:embed",
        "z if places is None else torch.empty_like(z).index_copy_(0, torch.from_numpy(places), z)",
        "z",
        TESTS,
    ),
    Mutant(
        "text batches: embeddings of other rows",
        f"{FEATURES}:embed",
        "places if rows is None else rows[places]",
        "places",
        TESTS,
    ),
    Mutant(
        "text batches: embedded in any order", f"{FEATURES}:_from_short_to_long", "if x.ndim != 2:", "if True:", TESTS
    ),
)
