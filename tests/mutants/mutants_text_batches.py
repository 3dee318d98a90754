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
        f"{BATCHES}:Batches.micro_batches",
        "batch.size",
        "len(own)",
        TESTS,
    ),
    Mutant(
        "text batches: pieces of any lengths",
        f"{BATCHES}:length_pieces",
        "lengths[rows].argsort(stable=True)",
        "torch.arange(len(rows))",
        TESTS,
    ),
    Mutant(
        "text batches: places for rows",
        f"{BATCHES}:Batches.micro_batches",
        "[batch.rows[piece] for piece in pieces]",
        "pieces",
        TESTS,
    ),
    Mutant(
        "text batches: the last piece is lost",
        f"{BATCHES}:Batches.micro_batches",
        "for own in rows",
        "for own in rows[:-1]",
        TESTS,
    ),
    Mutant(
        "text batches: shares are cut, too",
        f"{BATCHES}:length_pieces",
        "or ctx.group.is_distributed",
        "",
        TESTS,
    ),
    Mutant("text batches: cut on a GPU", f"{BATCHES}:length_pieces", 'or ctx.device.type != "cpu"', "", TESTS),
    Mutant("text batches: tiny pieces", f"{BATCHES}:length_pieces", "// _MIN_MICRO_BATCH", "", TESTS),
    Mutant(
        "text batches: gradients of the last piece only",
        f"{LOOP}:_train_epoch",
        ("with ctx.autocast():\n    logits = stage.wrapped(part.x)"),
        ("optimizer.zero_grad(set_to_none=True)\nwith ctx.autocast():\n    logits = stage.wrapped(part.x)"),
        TESTS,
    ),
    Mutant(
        "text batches: a penalty on each piece",
        f"{LOOP}:_train_epoch",
        "part is last",
        "",
        TESTS,
    ),
    Mutant(
        "text batches: the loss of the last piece is logged",
        f"{LOOP}:_train_epoch",
        "loss_sum += losses.detach().sum()",
        "if part is last:\n    loss_sum += losses.detach().sum()",
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
        "z if order is None else torch.empty_like(z).index_copy_(0, torch.from_numpy(order), z)",
        "z",
        TESTS,
    ),
    Mutant(
        "text batches: embeddings of other rows",
        f"{FEATURES}:embed",
        "order if rows is None else rows[order]",
        "places",
        TESTS,
    ),
    Mutant("text batches: embedded in any order", f"{FEATURES}:_length_order", "if x.ndim != 2:", "if True:", TESTS),
)
