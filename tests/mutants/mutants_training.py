"""Mutants of the shared training pieces and of the methods that need no file of their own."""

from __future__ import annotations

from mutant import Mutant

LOOP, GROUPS = "tests/training/test_supervised_loop.py", "tests/training/test_parameter_groups.py"
PROTOTYPES, PARALLEL = "tests/training/test_prototypes.py", "tests/training/test_data_parallel.py"
FEATURES, TRAINED = "tests/methods/test_feature_methods.py", "tests/methods/test_trained_methods.py"
CONTRACT = "tests/methods/test_contract.py"

MUTANTS = (
    Mutant(
        "fine-tune: head found by substring",
        "methods/finetune.py",
        "(model.head.parameters(), cfg.lr * cfg.head_multiplier)]",
        '([p for n, p in model.named_parameters() if "fc" in n or "head" in n], cfg.lr * cfg.head_multiplier)]',
        TRAINED,
    ),
    Mutant(
        "fine-tune: decay of vectors",
        "training/parameter_groups.py",
        "if parameter.ndim > 1",
        "if parameter.ndim > 0",
        GROUPS,
    ),
    Mutant(
        "fine-tune: cover is not checked",
        "training/parameter_groups.py",
        "if missing or foreign or twice",
        "if False",
        GROUPS,
    ),
    Mutant("fine-tune: last instead of best", "training/supervised_loop.py", "    epochs.restore_best()\n", "", LOOP),
    Mutant(
        "fine-tune: frozen batch norm left in train mode",
        "training/classifier.py",
        "            module.eval()",
        "            module.train()",
        LOOP,
    ),
    Mutant(
        "fine-tune: batch norm policy is not passed on",
        "methods/finetune.py",
        ", batch_norm=cfg.batch_norm",
        "",
        TRAINED,
    ),
    Mutant(
        "fine-tune: order of examples from the global generator",
        "training/batches.py",
        'generator = self._ctx.generator(self._name, "batches", epoch)',
        "generator = torch.default_generator",
        LOOP,
    ),
    Mutant(
        "fine-tune: loss of the last shard only",
        "training/supervised_loop.py",
        "mean = ctx.mean(losses, piece.size)",
        "mean = losses.mean()",
        PARALLEL,
    ),
    Mutant(
        "fine-tune: batch statistics of each process",
        "training/data_parallel.py",
        "layer.__class__ = GlobalBatchNorm",
        "pass",
        PARALLEL,
    ),
    Mutant(
        "fine-tune: optimiser is not kept",
        "training/supervised_loop.py",
        "name=name, optimizer=optimizer\n",
        "name=name\n",
        LOOP,
    ),
    Mutant(
        "fine-tune: statistics of frozen layers move",
        "training/classifier.py",
        'batch_norm == "frozen" or _is_frozen(module)',
        'batch_norm == "frozen"',
        LOOP,
    ),
    Mutant(
        "fine-tune: schedule by epoch",
        "training/supervised_loop.py",
        "rate_factor(recipe.schedule, step, steps, recipe.warmup)",
        "rate_factor(recipe.schedule, epoch, recipe.epochs, recipe.warmup)",
        LOOP,
    ),
    Mutant(
        "evaluation: batch statistics in validation",
        "training/evaluation.py",
        "    model.eval()\n",
        "    model.train()\n",
        LOOP,
    ),
    Mutant(
        "evaluation: predictions in training mode",
        "training/predictor.py",
        '        """Return logits (B, classes) of raw inputs, in evaluation mode."""\n        self.module.eval()',
        '        """Return logits (B, classes) of raw inputs, in evaluation mode."""\n        self.module.train()',
        CONTRACT,
    ),
    Mutant(
        "evaluation: likelihood before accuracy",
        "training/evaluation.py",
        "return self.accuracy, -self.nll",
        "return -self.nll, self.accuracy",
        TRAINED,
    ),
    Mutant(
        "evaluation: mean of all examples, validation included",
        "methods/nearest_centroid.py",
        "    mean = z.mean(0)\n",
        "    mean = torch.cat([z, ctx.frozen_features(task.val)]).mean(0) if task.val else z.mean(0)\n",
        FEATURES,
    ),
    Mutant(
        "probe: constants of validation",
        "training/probe.py",
        "    mean = z.mean(0)\n",
        "    mean = torch.cat([z, ctx.frozen_features(task.val)]).mean(0) if task.val else z.mean(0)\n",
        FEATURES,
    ),
    Mutant(
        "probe: penalised bias",
        "training/logistic_regression.py",
        "gradient[:, :-1] += penalty * weights",
        "gradient += penalty * both",
        "tests/training/test_logistic_regression.py",
    ),
    Mutant(
        "probe: penalty without n",
        "training/logistic_regression.py",
        "args=(1 / (c * self._n),)",
        "args=(1 / c,)",
        "tests/training/test_logistic_regression.py",
    ),
    Mutant(
        "knn: no temperature",
        "methods/knn.py",
        "weights = (similarity / temperature)",
        "weights = (similarity / 1.0)",
        FEATURES,
    ),
    Mutant("centroid: no centring", "methods/nearest_centroid.py", 'z - mean if kind == "cl2n" else z', "z", FEATURES),
)
