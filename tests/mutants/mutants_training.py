"""Mutants of the shared training pieces and of the methods that need no file of their own."""

from __future__ import annotations

from mutant import Mutant

LOOP, GROUPS = "tests/training/test_supervised_loop.py", "tests/training/test_parameter_groups.py"
PARALLEL = "tests/training/test_data_parallel.py"
FEATURES, TRAINED = "tests/methods/test_feature_methods.py", "tests/methods/test_trained_methods.py"
CONTRACT = "tests/methods/test_contract.py"

MUTANTS = (
    Mutant(
        "fine-tune: head found by substring",
        "tlbench.methods.finetune:fit.tune",
        "model.head.parameters()",
        '[p for n, p in model.named_parameters() if "fc" in n or "head" in n]',
        TRAINED,
    ),
    Mutant(
        "fine-tune: decay of vectors",
        "tlbench.training.parameter_groups:_is_matrix",
        "parameter.ndim > 1",
        "parameter.ndim > 0",
        GROUPS,
    ),
    Mutant(
        "fine-tune: cover is not checked",
        "tlbench.training.parameter_groups:check_coverage",
        "if missing or foreign or twice:",
        "if False:",
        GROUPS,
    ),
    Mutant(
        "fine-tune: last instead of best",
        "tlbench.training.supervised_loop:train_classifier",
        "epochs.restore_best()",
        "",
        LOOP,
    ),
    Mutant(
        "fine-tune: frozen batch norm left in train mode",
        "tlbench.training.classifier:train_mode",
        "module.eval()",
        "module.train()",
        LOOP,
    ),
    Mutant(
        "fine-tune: batch norm policy is not passed on",
        "tlbench.methods.finetune:fit.tune",
        "batch_norm=recipe.batch_norm",
        "",
        TRAINED,
    ),
    Mutant(
        "fine-tune: order of examples from the global generator",
        "tlbench.training.batches:Batches.epoch",
        'self._ctx.generator(self._name, "batches", epoch)',
        "torch.default_generator",
        LOOP,
    ),
    Mutant(
        "fine-tune: loss of the last shard only",
        "tlbench.training.supervised_loop:_train_epoch",
        "ctx.global_mean(losses, part.size)",
        "losses.mean()",
        PARALLEL,
    ),
    Mutant(
        "fine-tune: batch statistics of each process",
        "tlbench.training.batch_norm:use_global_batch_norm",
        "replace_batch_norm(module, GlobalBatchNorm)",
        "pass",
        PARALLEL,
    ),
    Mutant(
        "fine-tune: optimiser is not kept",
        "tlbench.training.supervised_loop:train_classifier",
        '{"optimizer": optimizer}',
        "{}",
        LOOP,
    ),
    Mutant(
        "fine-tune: statistics of frozen layers move",
        "tlbench.training.classifier:train_mode",
        "or _is_frozen(module)",
        "",
        LOOP,
    ),
    Mutant(
        "fine-tune: schedule by epoch",
        "tlbench.training.supervised_loop:_train_epoch",
        "rate_factor(recipe.schedule, step, steps, recipe.warmup)",
        "rate_factor(recipe.schedule, epoch, recipe.epochs, recipe.warmup)",
        LOOP,
    ),
    Mutant(
        "evaluation: batch statistics in validation",
        "tlbench.training.evaluation:evaluate",
        "model.eval()",
        "model.train()",
        LOOP,
    ),
    Mutant(
        "evaluation: predictions in training mode",
        "tlbench.training.predictor:ModulePredictor.logits",
        "self.module.eval()",
        "self.module.train()",
        CONTRACT,
    ),
    Mutant(
        "evaluation: likelihood before accuracy",
        "tlbench.training.validation_scores:ValidationScores.order",
        "(self.accuracy if self.chosen is None else self.chosen, -self.nll)",
        "(-self.nll, self.accuracy)",
        TRAINED,
    ),
    Mutant(
        "evaluation: mean of all examples, validation included",
        "tlbench.methods.nearest_centroid:fit",
        "z.mean(0)",
        "torch.cat([z, ctx.frozen_features(task.val)]).mean(0) if task.val else z.mean(0)",
        FEATURES,
    ),
    Mutant(
        "probe: constants of validation",
        "tlbench.training.linear_probe:_scores",
        "_moments(fitted.z)",
        "_moments(torch.cat([fitted.z, scored.z]))",
        FEATURES,
    ),
    Mutant(
        "probe: solved on the examples that chose",
        "tlbench.data.dataset:Task",
        "self.folds != each",
        "self.folds != -2",
        FEATURES,
    ),
    Mutant(
        "probe: chosen by accuracy",
        "tlbench.training.linear_probe:fit_probe",
        'ctx.choose("C", by_c, by_likelihood)',
        'ctx.choose("C", by_c)',
        FEATURES,
    ),
    Mutant(
        "knn: neighbours of the fold itself",
        "tlbench.methods.knn:_scores",
        "(bank[given], labels[given], bank[own], labels[own])",
        "(bank, labels, bank[own], labels[own])",
        FEATURES,
    ),
    Mutant(
        "fine-tune: tokens and positions are decayed",
        "tlbench.training.parameter_groups:_is_matrix",
        " and parameter.shape[0] > 1",
        "",
        GROUPS,
    ),
    Mutant(
        "fine-tune: gradients of any norm",
        "tlbench.training.supervised_loop:_train_epoch",
        "recipe.clip_norm is not None",
        "False",
        "tests/training/test_supervised_loop.py",
    ),
    Mutant(
        "probe: penalised bias",
        "tlbench.training.logistic_regression:LogisticProblem._objective",
        "gradient[:, :-1] += penalty * weights",
        "gradient += penalty * both",
        "tests/training/test_logistic_regression.py",
    ),
    Mutant(
        "probe: penalty without n",
        "tlbench.training.logistic_regression:LogisticProblem.solve",
        "c * self._n",
        "c",
        "tests/training/test_logistic_regression.py",
    ),
    Mutant(
        "knn: no temperature",
        "tlbench.training.nearest_neighbours:vote_logits",
        "similarity / temperature",
        "similarity / 1.0",
        FEATURES,
    ),
    Mutant(
        "centroid: no centring",
        "tlbench.training.fewshot.centroids:transform_features",
        'z - mean if kind == "cl2n" else z',
        "z",
        FEATURES,
    ),
    *(
        Mutant(f"balance: {name}", where, old, new, "tests/training/test_class_balance.py")
        for name, where, old, new in (
            (
                "absent classes count",
                "tlbench.training.batches:class_weights",
                "(counts > 0).sum() * counts",
                "len(counts) * counts",
            ),
            ("no weights", "tlbench.training.supervised_loop:_weighted", "losses * weights[labels]", "losses"),
            (
                "the other label's weight of mixed inputs",
                "tlbench.training.supervised_loop:label_losses",
                "_weighted(others, batch.mixed.y, weights)",
                "_weighted(others, batch.y, weights)",
            ),
            ("no sampling", "tlbench.training.batches:Batches._order", "self._chances is None", "True"),
            (
                "the probe's target is not weighted",
                "tlbench.training.logistic_regression:LogisticProblem.__init__",
                "self._z if weights is None else weights[:, None] * self._z",
                "self._z",
            ),
        )
    ),
)
