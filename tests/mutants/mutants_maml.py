"""Mutants of the methods that learn to learn by gradient descent within an episode."""

from __future__ import annotations

from mutant import Mutant

LOOP, TOGETHER = "tests/training/test_inner_loop.py", "tests/training/test_vectorization.py"
MAML, ANIL = "tests/methods/test_maml.py", "tests/methods/test_anil.py"
PARALLEL = "tests/methods/test_meta_in_parallel.py"

MUTANTS = (
    Mutant(
        "maml: base parameters in the inner loop",
        "training/fewshot/inner_loop.py",
        "gradient(objective, values, order)",
        "gradient(objective, start, order)",
        LOOP,
    ),
    Mutant(
        "maml: queries answered by the base parameters",
        "methods/maml.py",
        "cross_entropy(self._answers(values, x, q, ways), t)",
        "cross_entropy(self._answers(start, x, q, ways), t)",
        f"{MAML}::test_gradient_equals_that_of_higher",
    ),
    Mutant(
        "maml: detached gradients under second order",
        "training/fewshot/inner_loop.py",
        "create_graph=order == 2",
        "create_graph=False",
        LOOP,
    ),
    Mutant(
        "maml: detached values under second order, at once",
        "training/fewshot/inner_loop.py",
        "at = values if order == 2 else {",
        "at = {",
        LOOP,
    ),
    Mutant(
        "maml: the order is not passed on",
        "methods/maml.py",
        "self._steps(start, rates, self._cfg.order, x, y, ways)",
        "self._steps(start, rates, 1, x, y, ways)",
        f"{MAML}::test_gradient_equals_that_of_higher",
    ),
    Mutant(
        "maml: every step is differentiated under first order",
        "training/fewshot/inner_loop.py",
        "create_graph=order == 2",
        "create_graph=True",
        LOOP,
    ),
    Mutant(
        "maml: the first step's rate in every step",
        "training/fewshot/inner_loop.py",
        "    for row in rates:\n",
        "    for row in rates[:1].expand_as(rates):\n",
        LOOP,
    ),
    Mutant(
        "maml: fused normalisation when episodes run at once",
        "methods/maml.py",
        "            norm.fused = not self._vectorised",
        "            norm.fused = True",
        f"{MAML}::test_episodes_at_once_give_what_they_give_one_by_one",
    ),
    Mutant(
        "maml: fused normalisation is taken for right at once",
        "training/fewshot/vectorization.py",
        'return random or ("norm" in name and not any(right in name for right in _RIGHT))',
        "return random",
        TOGETHER,
    ),
    Mutant(
        "maml: dropout is taken for right at once",
        "training/fewshot/vectorization.py",
        "return random or (",
        "return (",
        TOGETHER,
    ),
    Mutant(
        "maml: updates leak into the start",
        "training/fewshot/inner_loop.py",
        "        yield values\n",
        "        for name, value in values.items():\n            start[name].data = value.data\n        yield values\n",
        f"{MAML}::test_solving_leaves_the_start_alone",
    ),
    Mutant(
        "maml: running statistics move within an episode",
        "training/fewshot/episode_batch_norm.py",
        "x = batch_norm(x, None, None, self",
        "x = batch_norm(x, self.running_mean, self.running_var, self",
        f"{MAML}::test_solving_leaves_the_start_alone",
    ),
    Mutant(
        "maml: statistics of all rows under those of the support",
        "training/fewshot/episode_batch_norm.py",
        "variance = centred[: self.support]",
        "variance = centred",
        TOGETHER,
    ),
    Mutant(
        "maml: queries normalise themselves under the support's statistics",
        "methods/maml.py",
        "x = torch.cat([support, query]) if self._by_support else query",
        "x = query",
        f"{MAML}::test_transduction_is_declared",
    ),
    Mutant(
        "maml: transduction is not declared",
        "methods/maml.py",
        'self.transductive = cfg.statistics == "batch" and bool(self._norms)',
        "self.transductive = False",
        f"{MAML}::test_transduction_is_declared",
    ),
    Mutant(
        "maml: fast attention",
        "methods/maml.py",
        "        with sdpa_kernel(SDPBackend.MATH):  #",
        "        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  #",
        f"{MAML}::test_finite_differences_through_attention",
    ),
    Mutant(
        "maml: test episodes in training mode",
        "methods/maml.py",
        "        self.module.eval()\n",
        "",
        f"{MAML}::test_episodes_stay_apart_where_it_would_be_wrong_together",
    ),
    Mutant(
        "maml: the head starts at zero",
        "training/classifier.py",
        "    nn.init.uniform_(head.weight, -(width**-0.5), width**-0.5, generator=generator)\n",
        "    nn.init.zeros_(head.weight)\n",
        f"{MAML}::test_the_first_step_reaches_the_body",
    ),
    Mutant(
        "maml: losses of the steps are added up",
        "training/fewshot/inner_loop.py",
        "early = max(0.0, 1 - progress) / max(steps, 1)",
        "early = max(0.0, 1 - progress)",
        LOOP,
    ),
    Mutant(
        "maml: rates stay where they start",
        "methods/maml.py",
        "self.rates = nn.Parameter(rates)",
        "self.rates = nn.Parameter(rates, requires_grad=False)",
        f"{MAML}::test_rates_are_learned",
    ),
    Mutant(
        "maml: later steps have the rates of the first",
        "methods/maml.py",
        "torch.arange(steps).clamp(max=len(self.rates) - 1)",
        "torch.arange(steps).clamp(max=len(self.rates) - 1).where(torch.arange(steps) < len(self.rates), 0)",
        f"{MAML}::test_later_steps_have_the_rates_of_the_last",
    ),
    Mutant(
        "maml: no clamp",
        "methods/maml.py",
        "if cfg.clamp is not None:",
        "if False:",
        f"{MAML}::test_gradients_are_clamped",
    ),
    Mutant(
        "maml: clamp of each process's part",
        "methods/maml.py",
        "        total_gradients(parameters, ctx)\n        if cfg.clamp is not None:\n"
        "            nn.utils.clip_grad_value_(parameters, cfg.clamp)\n",
        "        if cfg.clamp is not None:\n            nn.utils.clip_grad_value_(parameters, cfg.clamp)\n"
        "        total_gradients(parameters, ctx)\n",
        PARALLEL,
    ),
    Mutant(
        "maml: gradients of this process only",
        "training/collectives.py",
        "    if ctx.world == 1:\n        return\n",
        "    return\n",
        PARALLEL,
    ),
    Mutant(
        "maml: every process has all episodes",
        "methods/maml.py",
        "own = ctx.shard(torch.arange(len(batch.support)))",
        "own = torch.arange(len(batch.support))",
        PARALLEL,
    ),
    Mutant(
        "maml: training episodes have other ways than the test",
        "training/fewshot/episodic_loop.py",
        "else task.info.classes",
        "else 3",
        f"{MAML}::test_training_episodes_have_the_ways_of_the_test",
    ),
    Mutant(
        "anil: episodes share one head's gradient",
        "methods/anil.py",
        'reduction="sum") / labels.shape[1]',
        'reduction="mean")',
        ANIL,
    ),
    Mutant(
        "anil: the order is not passed on",
        "methods/anil.py",
        "self._cfg.inner_steps, self._cfg.order)",
        "self._cfg.inner_steps, 1)",
        ANIL,
    ),
    Mutant(
        "anil: the start of the head is not learned",
        "methods/anil.py",
        'list(embedding.parameters()), "lr"',
        'list(embedding.backbone.parameters()), "lr"',
        ANIL,
    ),
)
