"""Mutants of SetFit, of its pairs and of the head that follows."""

from __future__ import annotations

from mutant import Mutant

METHOD, PAIRS, THEN = (
    "tlbench.methods.setfit",
    "tlbench.training.labelled_pairs",
    "tlbench.training.selfsupervised.downstream",
)
TESTS, PAIR_TESTS = "tests/methods/test_setfit.py", "tests/training/test_labelled_pairs.py"

MUTANTS = (
    Mutant(
        "setfit: lengths matter", f"{PAIRS}:cosine_losses", "normalize(at_least_float32(z), dim=1)", "z", PAIR_TESTS
    ),
    Mutant("setfit: losses are not squared", f"{PAIRS}:cosine_losses", ".square()", ".abs()", PAIR_TESTS),
    Mutant(
        "setfit: negative pairs are to be opposite",
        f"{PAIRS}:cosine_losses",
        "pairs.target.to(similarity.dtype)",
        "2 * pairs.target.to(similarity.dtype) + 1",
        PAIR_TESTS,
    ),
    Mutant(
        "setfit: an example may be its own partner",
        f"{PAIRS}:draw_pairs",
        "1 + (chance[0] * (size - 1)).long()",
        "(chance[0] * size).long()",
        PAIR_TESTS,
    ),
    Mutant(
        "setfit: the partner is always the next",
        f"{PAIRS}:draw_pairs",
        "1 + (chance[0] * (size - 1)).long()",
        "torch.ones_like(size)",
        PAIR_TESTS,
    ),
    Mutant(
        "setfit: negative partners of the own class",
        f"{PAIRS}:draw_pairs",
        "other + size * (other >= start)",
        "other",
        PAIR_TESTS,
    ),
    Mutant(
        "setfit: later classes are no negative partners",
        f"{PAIRS}:draw_pairs",
        "(chance[1] * (len(labels) - size)).long()",
        "(chance[1] * start).long()",
        PAIR_TESTS,
    ),
    Mutant(
        "setfit: pairs from the global generator",
        f"{PAIRS}:draw_pairs",
        "torch.rand(2, len(anchors), generator=generator, dtype=torch.float64)",
        "torch.rand(2, len(anchors), dtype=torch.float64)",
        PAIR_TESTS,
    ),
    Mutant("setfit: one class only breaks", f"{PAIRS}:draw_pairs", "if len(sizes) == 1:", "if False:", PAIR_TESTS),
    Mutant(
        "setfit: the same pairs in every round",
        f"{PAIRS}:PairBatches.epoch",
        'self._ctx.generator(self._name, "pairs", number)',
        'self._ctx.generator(self._name, "pairs")',
        PAIR_TESTS,
    ),
    Mutant(
        "setfit: batches of one kind",
        f"{PAIRS}:PairBatches.epoch",
        "torch.randperm(len(pairs.first), generator=generator)",
        "torch.arange(len(pairs.first))",
        PAIR_TESTS,
    ),
    Mutant(
        "setfit: the first examples are the anchors",
        f"{PAIRS}:PairBatches.epoch",
        "torch.randperm(len(self._labels), generator=generator)[: self._plan.anchors]",
        "torch.zeros(self._plan.anchors, dtype=torch.int64)",
        PAIR_TESTS,
    ),
    Mutant(
        "setfit: what is paired with itself is embedded once",
        f"{PAIRS}:PairBatches._batch",
        "pairs.second + twice",
        "pairs.second",
        PAIR_TESTS,
    ),
    Mutant(
        "setfit: every second of a pair is embedded anew",
        f"{PAIRS}:PairBatches._batch",
        "count * (pairs.first == pairs.second)",
        "count",
        PAIR_TESTS,
    ),
    Mutant(
        "setfit: rounds are not bounded",
        f"{PAIRS}:plan_rounds",
        "max(1, min(iterations, most_steps // batches))",
        "iterations",
        PAIR_TESTS,
    ),
    Mutant(
        "setfit: a round is not bounded",
        f"{PAIRS}:plan_rounds",
        "min(examples, most_steps * batch_size // 2)",
        "examples",
        PAIR_TESTS,
    ),
    Mutant(
        "setfit: embeddings from short to long",
        f"{PAIRS}:embed_rows",
        "z[back]",
        "z",
        PAIR_TESTS,
    ),
    Mutant(
        "setfit: texts in one piece",
        f"{PAIRS}:embed_rows",
        "length_pieces(examples.lengths, own, ctx)",
        "[torch.arange(len(own))]",
        PAIR_TESTS,
    ),
    Mutant("setfit: the loss is a sum", f"{METHOD}:_train_step", ".mean()", ".sum()", TESTS),
    Mutant("setfit: gradients are not clipped", f"{METHOD}:_train_step", "cfg.clip_norm is not None", "False", TESTS),
    Mutant(
        "setfit: biases are decayed",
        f"{METHOD}:_tune",
        "parameter_groups([(backbone.parameters(), lr)], cfg.weight_decay)",
        '[{"params": list(backbone.parameters()), "lr": lr, "weight_decay": cfg.weight_decay}]',
        TESTS,
    ),
    Mutant("setfit: tuned as if evaluated", f"{METHOD}:_tune", "train_mode(backbone, batch_norm)", "", TESTS),
    Mutant(
        "setfit: statistics always move",
        f"{METHOD}:_tune",
        "train_mode(backbone, batch_norm)",
        "backbone.train()",
        TESTS,
    ),
    Mutant("setfit: the rate starts anew in every round", f"{METHOD}:_tune", "start=number * plan.batches", "", TESTS),
    Mutant("setfit: as many steps as it takes", f"{METHOD}:_tune", "cfg.most_steps", "10**9", TESTS),
    Mutant(
        "setfit: tuned on validation",
        f"{METHOD}:fit",
        "_tune(task.train, backbone, cfg, ctx)",
        "_tune(task.val or task.train, backbone, cfg, ctx)",
        TESTS,
    ),
    Mutant("setfit: a label alone is not noted", f"{METHOD}:fit", "if alone:", "if False:", TESTS),
    Mutant("setfit: scores of folds that it has seen", f"{METHOD}:fit", "labels_seen=True", "labels_seen=False", TESTS),
    Mutant(
        "setfit: no scores of new examples",
        f"{THEN}:fit_downstream_probe",
        "labels_seen and task.val is None",
        "labels_seen",
        TESTS,
    ),
    Mutant(
        "setfit: a head for the given features",
        f"{THEN}:fit_downstream_probe",
        "initialise_head(model, task, ctx, features, C)",
        "initialise_head(model, task, ctx, None, C)",
        TESTS,
    ),
    Mutant(
        "setfit: published weights at the rate of one's own",
        "tlbench.training.recipe:RATES",
        "Rates(2e-5, 1e-3)",
        "Rates(1e-3, 1e-3)",
        TESTS,
    ),
)
