"""Mutants of masked language modelling and of what follows it on a task."""

from __future__ import annotations

from mutant import Mutant

METHOD, MASKING, HEAD = (
    "tlbench.methods.mlm",
    "tlbench.training.selfsupervised.masking",
    "tlbench.training.selfsupervised.language_head",
)
BATCHES, BUCKETS, THEN = (
    "tlbench.training.selfsupervised.masked_batches",
    "tlbench.training.length_buckets",
    "tlbench.training.selfsupervised.downstream",
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
        f"{MASKING}:mask_tokens",
        "return MaskedTexts(torch.where(selected, masked, ids), torch.where(selected, ids, IGNORE_INDEX))",
        (
            "labels = torch.where(selected, ids, IGNORE_INDEX)\n"
            "return MaskedTexts(ids.copy_(torch.where(selected, masked, ids)), labels)"
        ),
        MASKING_TESTS,
    ),
    Mutant(
        "mlm: special tokens are selected", f"{MASKING}:mask_tokens", "& ~torch.isin(ids, special)", "", MASKING_TESTS
    ),
    Mutant(
        "mlm: of the special tokens only padding is spared",
        f"{MASKING}:mask_tokens",
        "vocabulary.special",
        "[vocabulary.pad]",
        MASKING_TESTS,
    ),
    Mutant(
        "mlm: labels everywhere",
        f"{MASKING}:mask_tokens",
        "torch.where(selected, ids, IGNORE_INDEX)",
        "torch.clone(ids)",
        MASKING_TESTS,
    ),
    Mutant(
        "mlm: random tokens from the whole table",
        f"{MASKING}:non_special_tokens",
        "texts.unique()",
        "torch.arange(vocabulary.size, device=texts.device)",
        f"{TESTS}::test_a_random_token_is_one_that_a_text_holds_and_no_row_of_the_table_that_none_reaches",
    ),
    Mutant(
        "mlm: a special id among the random ones",
        f"{MASKING}:non_special_tokens",
        "ids[~torch.isin(ids, torch.tensor(vocabulary.special, device=ids.device))]",
        "found",
        MASKING_TESTS,
    ),
    Mutant(
        "mlm: random tokens are not even",
        "tlbench.training.selfsupervised.masking:_random_tokens",
        "torch.randint(len(replacements), ids.shape, generator=generator)",
        "torch.randint(len(replacements), ids.shape, generator=generator) // 2",
        MASKING_TESTS,
    ),
    Mutant(
        "mlm: no text to draw a token from breaks",
        "tlbench.training.selfsupervised.masking:_random_tokens",
        "if not len(replacements):",
        "if False:",
        MASKING_TESTS,
    ),
    Mutant(
        "mlm: random tokens of a process's first texts",
        f"{BATCHES}:MaskedBatches.__init__",
        "non_special_tokens(self._texts, self._vocabulary)",
        "non_special_tokens(ctx.shard(self._texts)[:1], self._vocabulary)",
        f"{TESTS}::test_a_random_token_is_one_that_a_text_holds_and_no_row_of_the_table_that_none_reaches",
    ),
    Mutant(
        "mlm: nothing selected is not told",
        f"{METHOD}:_train",
        "if losses and not any(losses):",
        "if False:",
        f"{TESTS}::test_texts_without_a_token_to_ask_for_cost_nothing_and_break_nothing",
    ),
    Mutant(
        "mlm: augmentation of images is searched",
        f"{METHOD}:Config.augment",
        'Field("none", description="of images: no effect here")',
        'tunable("none", choice("none", "shift"), "of images: without effect here")',
        "tests/search/test_space.py::test_what_has_no_effect_is_not_searched",
    ),
    Mutant("mlm: no token is replaced", f"{MASKING}:_REPLACED", "0.1", "0.0", MASKING_TESTS),
    Mutant("mlm: 85 in 100 are masked", f"{MASKING}:_REPLACED", "0.8", "0.85", MASKING_TESTS),
    Mutant(
        "mlm: masks from the global generator",
        f"{MASKING}:mask_tokens",
        "generator=generator",
        "",
        MASKING_TESTS,
    ),
    Mutant(
        "mlm: whether a token is selected decides what it becomes",
        f"{MASKING}:mask_tokens",
        "special = torch.tensor(vocabulary.special, device=ids.device)",
        ("kind = chance\nspecial = torch.tensor(vocabulary.special, device=ids.device)"),
        MASKING_TESTS,
    ),
    Mutant(
        "mlm: one draw for a whole text",
        f"{MASKING}:mask_tokens",
        "special = torch.tensor(vocabulary.special, device=ids.device)",
        ("chance = chance[:, :1]\nspecial = torch.tensor(vocabulary.special, device=ids.device)"),
        MASKING_TESTS,
    ),
    Mutant(
        "mlm: batches are not sorted by length",
        f"{BUCKETS}:length_buckets",
        "pool = pool[lengths[pool].argsort(stable=True)]",
        "",
        BUCKET_TESTS,
    ),
    Mutant(
        "mlm: batches come from short to long",
        f"{BUCKETS}:length_buckets",
        "torch.randperm(len(batches), generator=generator).tolist()",
        "range(len(batches))",
        BUCKET_TESTS,
    ),
    Mutant(
        "mlm: the same neighbours in every epoch",
        f"{BUCKETS}:length_buckets",
        "torch.randperm(len(lengths), generator=generator)",
        "torch.arange(len(lengths))",
        BUCKET_TESTS,
    ),
    Mutant(
        "mlm: a small batch is left over",
        f"{BUCKETS}:length_buckets",
        ".tensor_split(-(-len(lengths) // size))",
        ".split(size)",
        BUCKET_TESTS,
    ),
    Mutant(
        "mlm: an untied decoder",
        f"{HEAD}:LanguageModel.forward",
        "self._encoder.embedding.weight",
        'self.__dict__.setdefault("own", self._encoder.embedding.weight.detach().clone().requires_grad_())',
        TESTS,
    ),
    Mutant(
        "mlm: the decoder teaches the table nothing",
        f"{HEAD}:LanguageModel.forward",
        ".embedding.weight",
        ".embedding.weight.detach()",
        TESTS,
    ),
    Mutant(
        "mlm: no bias",
        f"{HEAD}:LanguageModel.forward",
        "self.bias",
        "",
        f"{TESTS}::test_each_token_has_a_bias_of_its_own",
    ),
    Mutant("mlm: no transform", f"{HEAD}:LanguageModel.forward", "self.transform(states)", "states", TESTS),
    Mutant(
        "mlm: states as wide as the table",
        f"{HEAD}:LanguageModel.__init__",
        "nn.Linear(backbone.out_dim, width)",
        "nn.Linear(width, width)",
        "tests/backbones/test_huggingface.py::test_masked_tokens_are_told_by_a_table_that_is_narrower_than_the_states",
    ),
    Mutant(
        "mlm: the neighbour is gathered", f"{HEAD}:LanguageModel.forward", "rows, columns", "rows, columns - 1", TESTS
    ),
    Mutant("mlm: a head from the global generator", f"{HEAD}:LanguageModel.__init__", "generator=generator", "", TESTS),
    Mutant(
        "mlm: attention to padding",
        "tlbench.backbones.transformer_encoder:Attention.forward",
        "real[:, None, None, :]",
        "None",
        f"{TESTS}::test_padding_does_not_move_the_logits_of_real_tokens",
    ),
    Mutant("mlm: the same masks in every epoch", f"{BATCHES}:MaskedBatches.epoch", "epoch", "", TESTS),
    Mutant(
        "mlm: a process counts its own tokens only",
        f"{BATCHES}:MaskedBatches.epoch",
        "int((labels != IGNORE_INDEX).sum())",
        "len(rows)",
        TESTS,
    ),
    Mutant(
        "mlm: padding is not cut off",
        f"{BATCHES}:MaskedBatches.epoch",
        "self._prepare(self._texts[texts])",
        "self._texts[texts].long()",
        TESTS,
    ),
    Mutant(
        "mlm: lengths are not known",
        f"{BATCHES}:MaskedBatches.__init__",
        "(self._texts != self._vocabulary.pad).sum(1)",
        "torch.zeros(len(texts))",
        TESTS,
    ),
    Mutant(
        "mlm: each process takes the mean of its own",
        f"{METHOD}:_train_epoch",
        "max(batch.selected, 1)",
        "max(len(batch.tokens) * ctx.world, 1)",
        TESTS,
    ),
    Mutant(
        "mlm: nothing selected is not a number",
        f"{METHOD}:_train_epoch",
        "max(batch.selected, 1)",
        "batch.selected",
        TESTS,
    ),
    Mutant(
        "mlm: gradients are not clipped",
        f"{METHOD}:_train_epoch",
        "nn.utils.clip_grad_norm_(model.parameters(), _CLIP)",
        "",
        f"{TESTS}::test_one_step_is_that_of_the_recipe_by_hand",
    ),
    Mutant(
        "mlm: biases are decayed",
        f"{METHOD}:_train",
        "parameter_groups([(model.parameters(), lr)], cfg.weight_decay)",
        '[{"params": list(model.parameters()), "lr": lr, "weight_decay": cfg.weight_decay}]',
        TESTS,
    ),
    Mutant("mlm: the rate falls as a cosine", f"{METHOD}:Config.schedule", '"linear"', '"cosine"', TESTS),
    Mutant(
        "mlm: texts without labels are not read",
        f"{METHOD}:fit",
        "(task.train, task.val, task.unlabeled)",
        "(task.train, task.val)",
        TESTS,
    ),
    Mutant("mlm: two losses in one curve", f"{METHOD}:fit", '"pretrain_loss"', '"train_loss"', TESTS),
    Mutant("mlm: losses in low precision", f"{METHOD}:_train_epoch", "at_least_float32(logits)", "logits", TESTS),
    Mutant("mlm: trained as if evaluated", f"{METHOD}:_train", "model.train()", "", TESTS),
    Mutant(
        "mlm: the labels are learnt from the texts' epochs",
        f"{THEN}:train_downstream",
        'cfg.model_copy(update={"epochs": cfg.tune_epochs})',
        "cfg",
        THEN_TESTS,
    ),
    Mutant(
        "mlm: a probe of the backbone as it was given",
        f"{THEN}:fit_downstream_probe",
        "features",
        "",
        THEN_TESTS,
    ),
    Mutant(
        "mlm: a linear rate that does not reach its peak",
        "tlbench.training.schedules:warmup_linear",
        "steps - rise",
        "steps",
        "tests/training/test_schedules.py",
    ),
)
