"""Mutants of episodes, prototypical networks, Meta-Baseline, Baseline++, and of what is learnt from a support alone."""

from __future__ import annotations

from mutant import Mutant

PROTOTYPES, COSINE = "tests/training/test_prototypes.py", "tests/training/test_cosine.py"
TRAINED, PARALLEL = "tests/methods/test_trained_methods.py", "tests/training/test_data_parallel.py"
META, PLUS = "tests/methods/test_meta_baseline.py", "tests/methods/test_baseline_pp.py"
REGRESSION, SUPPORT = "tests/training/test_support_logistic.py", "tests/methods/test_logistic_support.py"
TUNED, PROTOCOLS = "tests/methods/test_finetuning_in_episodes.py", "tests/protocols/test_protocols.py"

MUTANTS = (
    Mutant(
        "protonet: distance that is not squared",
        "training/fewshot/prototypes.py",
        "    return torch.baddbmm(bias.neg().unsqueeze(1), z, centred.transpose(1, 2), alpha=2)",
        "    return -torch.cdist(z, centres)",
        PROTOTYPES,
    ),
    Mutant(
        "protonet: digits lost far from the origin",
        "training/fewshot/prototypes.py",
        "origin = centres.mean(1, keepdim=True)",
        "origin = centres.new_zeros(())",
        PROTOTYPES,
    ),
    Mutant(
        "protonet: labels by position",
        "training/fewshot/prototypes.py",
        "member = (labels.unsqueeze(1) ==",
        "member = (labels.sort(1).values.unsqueeze(1) ==",
        PROTOTYPES,
    ),
    Mutant(
        "protonet: support among the queries",
        "training/fewshot/meta.py",
        "rows = torch.cat([batch.support.flatten(), batch.query.flatten()])",
        "rows = torch.cat([batch.support.flatten(), batch.support.flatten()[: batch.query.numel()]])",
        f"{TRAINED}::test_the_loss_of_an_episode_is_the_papers",
    ),
    Mutant(
        "protonet: other shots in training",
        "training/fewshot/meta.py",
        "        shots=task.info.shots,\n",
        "        shots=1,\n",
        f"{TRAINED}::test_the_loss_of_an_episode_is_the_papers",
    ),
    Mutant(
        "protonet: the rate stays",
        "methods/protonet.py",
        "rate=lambda done: halving(done, cfg.halve_every)",
        "rate=lambda done: 1.0",
        f"{TRAINED}::test_protonet_trains_as_published",
    ),
    Mutant("protonet: last instead of best", "training/fewshot/meta.py", "    epochs.restore_best()\n", "", TRAINED),
    Mutant(
        "protonet: embeds with batch statistics",
        "training/features.py",
        "encode.eval().to(device)",
        "encode.train().to(device)",
        f"{PROTOCOLS}::test_an_encoder_without_running_statistics_is_found_out",
    ),
    Mutant(
        "protonet: rows of this process only",
        "training/collect.py",
        "return global_sum(piece",
        "return (piece",
        PARALLEL,
    ),
    Mutant(
        "episodes: overlapping classes",
        "protocols/episodic.py",
        'train=_part(dataset, classes["train"])',
        'train=_part(dataset, classes["train"] + classes["test"][:1])',
        PROTOCOLS,
    ),
    Mutant(
        "episodes: a query is also support",
        "data/sampling.py",
        "query=drawn[..., shots:]",
        "query=drawn[..., shots - 1 : -1]",
        PROTOCOLS,
    ),
    Mutant(
        "episodes: support in the order of classes",
        "protocols/episodic.py",
        "    query, truth, ways = query",
        "    support, labels = torch.from_numpy(episodes.support).flatten(1), labels_of(episodes.support)\n"
        "    query, truth, ways = query",
        PROTOCOLS,
    ),
    Mutant(
        "episodes: queries in the order of classes",
        "protocols/episodic.py",
        "    query, truth, ways = query[:, :most], truth[:, :most]",
        "    query, truth = torch.from_numpy(episodes.query).flatten(1), labels_of(episodes.query)\n"
        "    query, truth, ways = query[:, :most], truth[:, :most]",
        PROTOCOLS,
    ),
    Mutant(
        "episodes: support and labels in two orders",
        "protocols/episodic.py",
        "return positions.gather(1, order), labels.gather(1, order)",
        "return positions.gather(1, order), labels",
        PROTOCOLS,
    ),
    Mutant(
        "episodes: nobody looks for undeclared transduction",
        "protocols/episodic.py",
        "    if any(_differ(*pair) for pair in pairs):\n",
        "    if False:\n",
        PROTOCOLS,
    ),
    Mutant(
        "episodes: encoders are not looked at for transduction",
        "protocols/episodic.py",
        "    if isinstance(learner, EpisodeLearner) and learner.encoder is not None:\n",
        "    if False:\n",
        PROTOCOLS,
    ),
    Mutant(
        "episodes: what is transductive is not marked",
        "store/mlflow_layout.py",
        "if record.outcome is not None and record.outcome.transductive:",
        "if False:",
        "tests/store/test_mlflow_layout.py::test_a_transductive_record_says_so_and_others_say_nothing",
    ),
    Mutant(
        "episodes: what is transductive is ranked with the rest",
        "report/cells.py",
        'mask(cells["transductive"].astype(bool), told)',
        'mask(cells["transductive"].isna(), told)',
        "tests/report/test_cells.py",
    ),
    Mutant(
        "cosine: lengths count",
        "training/fewshot/cosine.py",
        "(normalize(at_least_single(part), dim=-1) for part in (z, centres))",
        "(at_least_single(part) for part in (z, centres))",
        COSINE,
    ),
    Mutant(
        "cosine: in low precision",
        "training/fewshot/cosine.py",
        "torch.autocast(z.device.type, enabled=False)",
        "torch.enable_grad()",
        COSINE,
    ),
    Mutant(
        "meta_baseline: tau is not learnt",
        "methods/meta_baseline.py",
        "nn.Parameter(torch.tensor(scale))",
        "nn.Parameter(torch.tensor(scale), requires_grad=False)",
        META,
    ),
    Mutant(
        "meta_baseline: means of normalised features",
        "methods/meta_baseline.py",
        "prototypes(support, labels, ways), self._scale",
        "prototypes(nn.functional.normalize(support, dim=2), labels, ways), self._scale",
        META,
    ),
    Mutant(
        "meta_baseline: the classifier does not compete",
        "training/fewshot/meta.py",
        "    if from_start and held_out is not None and task.val is not None:\n",
        "    if False:\n",
        META,
    ),
    Mutant("meta_baseline: one stage", "methods/meta_baseline.py", "    if cfg.epochs:\n", "    if False:\n", META),
    Mutant(
        "meta_baseline: curves of both stages in one",
        "methods/meta_baseline.py",
        "own = replace(ctx, curves={})",
        "own = ctx",
        META,
    ),
    Mutant(
        "meta_baseline: both stages keep the same checkpoint",
        "training/fewshot/training_classes.py",
        'name="classes"',
        'name="fit"',
        META,
    ),
    Mutant(
        "baseline_pp: gradient along the direction",
        "methods/baseline_pp.py",
        "(pull - along / length * coefficients) / length",
        "pull / length",
        PLUS,
    ),
    Mutant("baseline_pp: no momentum", "methods/baseline_pp.py", "_MOMENTUM = 0.9", "_MOMENTUM = 0.0", PLUS),
    Mutant("baseline_pp: sum of the losses", "methods/baseline_pp.py", "scale / z.shape[1] *", "scale *", PLUS),
    Mutant(
        "baseline_pp: probabilities over examples",
        "methods/baseline_pp.py",
        "(scale * cosines).softmax(1)",
        "(scale * cosines).softmax(2)",
        PLUS,
    ),
    Mutant(
        "baseline_pp: lengths of features count",
        "methods/baseline_pp.py",
        "    z = normalize(at_least_single(z), dim=2)\n",
        "    z = at_least_single(z)\n",
        PLUS,
    ),
    Mutant(
        "logistic_support: centring is not undone",
        "training/fewshot/support_logistic.py",
        "bias = point.b - weights @ self._mean.transpose(1, 2)",
        "bias = point.b",
        REGRESSION,
    ),
    Mutant(
        "logistic_support: C for its inverse",
        "training/fewshot/support_logistic.py",
        "return self._of(error + point.a / c, error), p",
        "return self._of(error + point.a * c, error), p",
        REGRESSION,
    ),
    Mutant(
        "logistic_support: stops after two steps",
        "training/fewshot/support_logistic.py",
        "_NEWTON, _CONJUGATE, _HALVINGS = 100,",
        "_NEWTON, _CONJUGATE, _HALVINGS = 2,",
        REGRESSION,
    ),
    Mutant(
        "logistic_support: support as it is",
        "methods/logistic_support.py",
        "support, query = normalize(support, dim=2), normalize(query, dim=2)",
        "query = normalize(query, dim=2)",
        SUPPORT,
    ),
    Mutant(
        "logistic_support: the worst C",
        "methods/logistic_support.py",
        "c = max(grid,",
        "c = min(grid,",
        SUPPORT,
    ),
    Mutant(
        "fine-tune: an episode starts where the last one ended",
        "training/fewshot/support.py",
        "tensor.copy_(value)",
        "pass",
        TUNED,
    ),
    Mutant(
        "fine-tune: queries in training mode", "training/fewshot/support.py", "model.eval()", "model.train()", TUNED
    ),
    Mutant(
        "fine-tune: episodes fill the cell's curves",
        "training/fewshot/support.py",
        "alone = Context(self._ctx.cell, self._ctx.device, precision=self._ctx.precision)",
        "alone = self._ctx",
        TUNED,
    ),
)
