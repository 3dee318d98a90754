"""Mutants of masked language modelling and of what follows it on a task."""

from __future__ import annotations

from mutant import Mutant

METHOD, MASKING, HEAD = (
    "methods/mlm.py",
    "training/selfsupervised/masking.py",
    "training/selfsupervised/language_head.py",
)
BATCHES, BUCKETS, THEN = (
    "training/selfsupervised/masked_batches.py",
    "training/length_buckets.py",
    "training/selfsupervised/downstream.py",
)
TESTS, MASKING_TESTS, BUCKET_TESTS = (
    "tests/methods/test_mlm.py",
    "tests/training/test_masking.py",
    "tests/training/test_length_buckets.py",
)
THEN_TESTS = "tests/training/test_downstream.py"

MUTANTS = (
    Mutant(
        "mlm: masking in place",
        MASKING,
        "    return Masked(torch.where(selected, hidden, ids), torch.where(selected, ids, IGNORED))",
        "    labels = torch.where(selected, ids, IGNORED)\n"
        "    return Masked(ids.copy_(torch.where(selected, hidden, ids)), labels)",
        MASKING_TESTS,
    ),
    Mutant("mlm: special tokens are selected", MASKING, " & ~torch.isin(ids, special)", "", MASKING_TESTS),
    Mutant(
        "mlm: of the special tokens only padding is spared",
        MASKING,
        "torch.tensor(vocabulary.special, device=ids.device)",
        "torch.tensor([vocabulary.pad], device=ids.device)",
        MASKING_TESTS,
    ),
    Mutant(
        "mlm: labels everywhere", MASKING, "torch.where(selected, ids, IGNORED))", "torch.clone(ids))", MASKING_TESTS
    ),
    Mutant(
        "mlm: random tokens from the whole table",
        MASKING,
        "found = texts.unique()",
        "found = torch.arange(vocabulary.size, device=texts.device)",
        f"{TESTS}::test_a_random_token_is_one_that_a_text_holds_and_no_row_of_the_table_that_none_reaches",
    ),
    Mutant(
        "mlm: a special id among the random ones",
        MASKING,
        "return found[~torch.isin(found, torch.tensor(vocabulary.special, device=found.device))].long()",
        "return found.long()",
        MASKING_TESTS,
    ),
    Mutant(
        "mlm: random tokens are not even",
        MASKING,
        "torch.randint(len(ordinary), ids.shape, generator=generator)",
        "torch.randint(len(ordinary), ids.shape, generator=generator) // 2",
        MASKING_TESTS,
    ),
    Mutant("mlm: no text to draw a token from breaks", MASKING, "if not len(ordinary):", "if False:", MASKING_TESTS),
    Mutant(
        "mlm: random tokens of a process's first texts",
        BATCHES,
        "ordinary_tokens(self._texts, self._vocabulary)",
        "ordinary_tokens(ctx.shard(self._texts)[:1], self._vocabulary)",
        f"{TESTS}::test_a_random_token_is_one_that_a_text_holds_and_no_row_of_the_table_that_none_reaches",
    ),
    Mutant(
        "mlm: nothing selected is not told",
        METHOD,
        "if losses and not any(losses):",
        "if False:",
        f"{TESTS}::test_texts_without_a_token_to_ask_for_cost_nothing_and_break_nothing",
    ),
    Mutant(
        "mlm: augmentation of images is searched",
        METHOD,
        'augment: Augment = Field("none", description=',
        'augment: Augment = tunable("none", choice("none", "shift"), ',
        "tests/search/test_space.py::test_what_has_no_effect_is_not_searched",
    ),
    Mutant("mlm: no token is replaced", MASKING, "_REPLACED = 0.8, 0.1", "_REPLACED = 0.8, 0.0", MASKING_TESTS),
    Mutant("mlm: 85 in 100 are masked", MASKING, "_REPLACED = 0.8, 0.1", "_REPLACED = 0.85, 0.1", MASKING_TESTS),
    Mutant(
        "mlm: masks from the global generator",
        MASKING,
        "torch.rand(2, *ids.shape, generator=generator)",
        "torch.rand(2, *ids.shape)",
        MASKING_TESTS,
    ),
    Mutant(
        "mlm: whether a token is selected decides what it becomes",
        MASKING,
        "    special = torch.tensor(",
        "    kind = chance\n    special = torch.tensor(",
        MASKING_TESTS,
    ),
    Mutant(
        "mlm: one draw for a whole text",
        MASKING,
        "    special = torch.tensor(",
        "    chance = chance[:, :1]\n    special = torch.tensor(",
        MASKING_TESTS,
    ),
    Mutant(
        "mlm: batches are not sorted by length",
        BUCKETS,
        "        pool = pool[lengths[pool].argsort(stable=True)]\n",
        "",
        BUCKET_TESTS,
    ),
    Mutant(
        "mlm: batches come from short to long",
        BUCKETS,
        "torch.randperm(len(batches), generator=generator).tolist()",
        "range(len(batches))",
        BUCKET_TESTS,
    ),
    Mutant(
        "mlm: the same neighbours in every epoch",
        BUCKETS,
        "torch.randperm(len(lengths), generator=generator)",
        "torch.arange(len(lengths))",
        BUCKET_TESTS,
    ),
    Mutant(
        "mlm: a small batch is left over",
        BUCKETS,
        ".tensor_split(-(-len(lengths) // size))",
        ".split(size)",
        BUCKET_TESTS,
    ),
    Mutant(
        "mlm: an untied decoder",
        HEAD,
        "self.backbone.body.embedding.weight, self.bias",
        'self.__dict__.setdefault("own", self.backbone.body.embedding.weight.detach().clone().requires_grad_()), '
        "self.bias",
        TESTS,
    ),
    Mutant(
        "mlm: the decoder teaches the table nothing", HEAD, "weight, self.bias)", "weight.detach(), self.bias)", TESTS
    ),
    Mutant("mlm: no bias", HEAD, "weight, self.bias)", "weight)", f"{TESTS}::test_each_token_has_a_bias_of_its_own"),
    Mutant("mlm: no transform", HEAD, "linear(self.transform(states),", "linear(states,", TESTS),
    Mutant(
        "mlm: states as wide as the table",
        HEAD,
        "nn.Linear(backbone.out_dim, width)",
        "nn.Linear(width, width)",
        "tests/backbones/test_huggingface.py::test_masked_tokens_are_told_by_a_table_that_is_narrower_than_the_states",
    ),
    Mutant("mlm: the neighbour is gathered", HEAD, "[rows, columns]", "[rows, columns - 1]", TESTS),
    Mutant("mlm: a head from the global generator", HEAD, "std=_SPREAD, generator=generator", "std=_SPREAD", TESTS),
    Mutant(
        "mlm: attention to padding",
        "backbones/transformer_encoder.py",
        "scaled_dot_product_attention(q, k, v, real[:, None, None, :], dropout)",
        "scaled_dot_product_attention(q, k, v, None, dropout)",
        f"{TESTS}::test_padding_does_not_move_the_logits_of_real_tokens",
    ),
    Mutant("mlm: the same masks in every epoch", BATCHES, '"masks", epoch)', '"masks")', TESTS),
    Mutant(
        "mlm: a process counts its own tokens only",
        BATCHES,
        "selected=int((labels != IGNORED).sum())",
        "selected=len(rows)",
        TESTS,
    ),
    Mutant(
        "mlm: padding is not cut off",
        BATCHES,
        "self._prepare(self._texts[texts])",
        "self._texts[texts].long()",
        TESTS,
    ),
    Mutant(
        "mlm: lengths are not known",
        BATCHES,
        "(self._texts != self._vocabulary.pad).sum(1)",
        "torch.zeros(len(texts))",
        TESTS,
    ),
    Mutant(
        "mlm: each process takes the mean of its own",
        METHOD,
        "max(batch.selected, 1))",
        "max(len(batch.tokens) * ctx.world, 1))",
        TESTS,
    ),
    Mutant("mlm: nothing selected is not a number", METHOD, "max(batch.selected, 1))", "batch.selected)", TESTS),
    Mutant(
        "mlm: gradients are not clipped",
        METHOD,
        "        nn.utils.clip_grad_norm_(model.parameters(), _CLIP)\n",
        "",
        f"{TESTS}::test_one_step_is_that_of_the_recipe_by_hand",
    ),
    Mutant(
        "mlm: biases are decayed",
        METHOD,
        "parameter_groups([(model.parameters(), cfg.lr)], cfg.weight_decay)",
        '[{"params": list(model.parameters()), "lr": cfg.lr, "weight_decay": cfg.weight_decay}]',
        TESTS,
    ),
    Mutant("mlm: the rate falls as a cosine", METHOD, 'Field("linear"', 'Field("cosine"', TESTS),
    Mutant(
        "mlm: texts without labels are not read",
        METHOD,
        "(task.train, task.val, task.unlabeled)",
        "(task.train, task.val)",
        TESTS,
    ),
    Mutant("mlm: two losses in one curve", METHOD, '"pretrain_loss"', '"train_loss"', TESTS),
    Mutant("mlm: losses in low precision", METHOD, "else logits.float()", "else logits", TESTS),
    Mutant("mlm: trained as if evaluated", METHOD, "        model.train()\n", "", TESTS),
    Mutant(
        "mlm: the labels are learnt from the texts' epochs",
        THEN,
        '        recipe = cfg.model_copy(update={"epochs": cfg.tune_epochs})\n',
        "        recipe = cfg\n",
        THEN_TESTS,
    ),
    Mutant(
        "mlm: a probe of the backbone as it was given",
        THEN,
        "(model, task, ctx, features)",
        "(model, task, ctx)",
        THEN_TESTS,
    ),
    Mutant(
        "mlm: a linear rate that does not reach its peak",
        "training/schedules.py",
        "(steps - step) / (steps - rise)",
        "(steps - step) / steps",
        "tests/training/test_schedules.py",
    ),
)
