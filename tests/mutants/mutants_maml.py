"""Mutants of the methods that learn to learn by gradient descent within an episode."""

from __future__ import annotations

from mutant import Mutant

LOOP, TOGETHER = "tests/training/test_inner_loop.py", "tests/training/test_vmap_support.py"
MAML, ANIL = "tests/methods/test_maml.py", "tests/methods/test_anil.py"
PARALLEL = "tests/methods/test_meta_in_parallel.py"

MUTANTS = (
    Mutant(
        "maml: base parameters in the inner loop",
        "tlbench.training.fewshot.inner_loop:gradient_descent",
        "gradient(objective, values, order)",
        "gradient(objective, start, order)",
        LOOP,
    ),
    Mutant(
        "maml: queries answered by the base parameters",
        "tlbench.methods.maml:GradientDescentLearner.losses.loss",
        "self._query_logits(values, x, q, ways)",
        "self._answers(start, x, q, ways)",
        f"{MAML}::test_gradient_equals_that_of_higher",
    ),
    Mutant(
        "maml: detached gradients under second order",
        "tlbench.training.fewshot.inner_loop:autograd_gradient",
        "order == 2",
        "False",
        LOOP,
    ),
    Mutant(
        "maml: detached values under second order, at once",
        "tlbench.training.fewshot.inner_loop:func_gradient",
        "values if order == 2 else {name: value.detach() for name, value in values.items()}",
        "{name: value.detach() for name, value in values.items()}",
        LOOP,
    ),
    Mutant(
        "maml: the order is not passed on",
        "tlbench.methods.maml:GradientDescentLearner.losses.loss",
        "self._cfg.order",
        "1",
        f"{MAML}::test_gradient_equals_that_of_higher",
    ),
    Mutant(
        "maml: every step is differentiated under first order",
        "tlbench.training.fewshot.inner_loop:autograd_gradient",
        "order == 2",
        "True",
        LOOP,
    ),
    Mutant(
        "maml: the first step's rate in every step",
        "tlbench.training.fewshot.inner_loop:gradient_descent",
        "for row in rates:",
        "for row in rates[:1].expand_as(rates):",
        LOOP,
    ),
    Mutant(
        "maml: fused normalisation when episodes run at once",
        "tlbench.methods.maml:GradientDescentLearner.vectorise",
        "not self._vectorised",
        "True",
        f"{MAML}::test_episodes_at_once_give_what_they_give_one_by_one",
    ),
    Mutant(
        "maml: fused normalisation is taken for right at once",
        "tlbench.training.fewshot.vmap_support:_is_unsafe",
        'or "norm" in name and not any(correct in name for correct in _CORRECT_NORMS)',
        "",
        TOGETHER,
    ),
    Mutant(
        "maml: dropout is taken for right at once",
        "tlbench.training.fewshot.vmap_support:_is_unsafe",
        "random",
        "",
        TOGETHER,
    ),
    Mutant(
        "maml: updates leak into the start",
        "tlbench.training.fewshot.inner_loop:gradient_descent",
        "yield values",
        ("for name, value in values.items():\n    start[name].data = value.data\nyield values"),
        f"{MAML}::test_solving_leaves_the_start_alone",
        nth=2,
    ),
    Mutant(
        "maml: running statistics move within an episode",
        "tlbench.training.fewshot.episode_batch_norm:EpisodeNorm.forward",
        "batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)",
        "batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, training=True, eps=self.eps)",
        f"{MAML}::test_solving_leaves_the_start_alone",
    ),
    Mutant(
        "maml: statistics of all rows under those of the support",
        "tlbench.training.fewshot.episode_batch_norm:EpisodeNorm._normalise",
        "centred[:self.support]",
        "centred",
        TOGETHER,
    ),
    Mutant(
        "maml: queries normalise themselves under the support's statistics",
        "tlbench.methods.maml:GradientDescentLearner._query_logits",
        "torch.cat([support, query]) if self._by_support else query",
        "query",
        f"{MAML}::test_transduction_is_declared",
    ),
    Mutant(
        "maml: transduction is not declared",
        "tlbench.methods.maml:GradientDescentLearner.__init__",
        'cfg.statistics == "batch" and bool(self._norms)',
        "False",
        f"{MAML}::test_transduction_is_declared",
    ),
    Mutant(
        "maml: fast attention",
        "tlbench.methods.maml:GradientDescentLearner._each",
        "sdpa_kernel(SDPBackend.MATH)",
        "sdpa_kernel(SDPBackend.FLASH_ATTENTION)",
        f"{MAML}::test_finite_differences_through_attention",
    ),
    Mutant(
        "maml: test episodes in training mode",
        "tlbench.methods.maml:GradientDescentLearner.classify",
        "self.module.eval()",
        "",
        f"{MAML}::test_episodes_stay_apart_where_it_would_be_wrong_together",
    ),
    Mutant(
        "maml: the head starts at zero",
        "tlbench.training.classifier:random_head",
        "nn.init.uniform_(head.weight, -(width**-0.5), width**-0.5, generator=generator)",
        "nn.init.zeros_(head.weight)",
        f"{MAML}::test_the_first_step_reaches_the_body",
    ),
    Mutant(
        "maml: losses of the steps are added up",
        "tlbench.training.fewshot.inner_loop:multi_step_loss_weights",
        "/ max(steps, 1)",
        "",
        LOOP,
    ),
    Mutant(
        "maml: rates stay where they start",
        "tlbench.methods.maml:MetaInitialisation.__init__",
        "nn.Parameter(rates)",
        "nn.Parameter(rates, requires_grad=False)",
        f"{MAML}::test_rates_are_learned",
    ),
    Mutant(
        "maml: later steps have the rates of the first",
        "tlbench.methods.maml:MetaInitialisation.rates_of",
        ".clamp(max=len(self.rates) - 1)",
        ".clamp(max=len(self.rates) - 1).where(torch.arange(steps) < len(self.rates), 0)",
        f"{MAML}::test_later_steps_have_the_rates_of_the_last",
    ),
    Mutant(
        "maml: no clamp",
        "tlbench.methods.maml:fit.backward",
        "if cfg.clamp is not None:",
        "if False:",
        f"{MAML}::test_gradients_are_clamped",
    ),
    Mutant(
        "maml: clamp of each process's part",
        "tlbench.methods.maml:fit.backward",
        (
            "all_reduce_gradients(parameters, ctx.group)\n"
            "if cfg.clamp is not None:\n"
            "    nn.utils.clip_grad_value_(parameters, cfg.clamp)"
        ),
        (
            "if cfg.clamp is not None:\n"
            "    nn.utils.clip_grad_value_(parameters, cfg.clamp)\n"
            "all_reduce_gradients(parameters, ctx.group)"
        ),
        PARALLEL,
    ),
    Mutant(
        "maml: gradients of this process only",
        "tlbench.training.collectives:all_reduce_gradients",
        ("if not group.is_distributed:\n    return"),
        "return",
        PARALLEL,
    ),
    Mutant(
        "maml: every process has all episodes",
        "tlbench.methods.maml:fit.backward",
        "ctx.shard(torch.arange(len(batch.support)))",
        "torch.arange(len(batch.support))",
        PARALLEL,
    ),
    Mutant(
        "maml: training episodes have other ways than the test",
        "tlbench.training.fewshot.episodic_loop:_sample",
        "task.info.classes",
        "3",
        f"{MAML}::test_training_episodes_have_the_ways_of_the_test",
    ),
    Mutant(
        "anil: episodes share one head's gradient",
        "tlbench.methods.anil:_loss",
        'cross_entropy(_logits(heads, z).flatten(0, 1), labels.flatten(), reduction="sum") / labels.shape[1]',
        'cross_entropy(_logits(heads, z).flatten(0, 1), labels.flatten(), reduction="mean")',
        ANIL,
    ),
    Mutant(
        "anil: the order is not passed on",
        "tlbench.methods.anil:HeadDescentLearner.loss",
        "self._cfg.order",
        "1",
        ANIL,
    ),
    Mutant(
        "anil: the start of the head is not learned",
        "tlbench.methods.anil:fit",
        "embedding.parameters",
        "embedding.backbone.parameters",
        ANIL,
    ),
)
