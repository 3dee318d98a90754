"""Mutants of gradual unfreezing, discriminative rates, kept prefixes, BitFit, LP-FT, L2-SP and WiSE-FT."""

from __future__ import annotations

from mutant import Mutant

THAW = "tests/methods/test_gradual_unfreezing.py"
RATES = "tests/methods/test_discriminative_lr.py"
PREFIX = "tests/training/test_frozen_prefix.py"
SCHEDULES = "tests/training/test_schedules.py"
STARTS = "tests/methods/test_starting_points.py"
BITFIT, LP_FT = "tests/methods/test_bitfit.py", "tests/methods/test_lp_ft.py"
L2_SP, WISE_FT = "tests/methods/test_l2_sp.py", "tests/methods/test_wise_ft.py"
PROBE = "training/probe.py"

MUTANTS = (
    Mutant(
        "unfreezing: omits the stem",
        "methods/gradual_unfreezing.py",
        "list(range(layers, last - 1, -1))",
        "list(range(layers, last, -1))",
        THAW,
    ),
    Mutant(
        "unfreezing: from the bottom up",
        "methods/gradual_unfreezing.py",
        "parameter.requires_grad_(depth >= lowest)",
        "parameter.requires_grad_(depth < len(layers) - lowest)",
        THAW,
    ),
    Mutant(
        "unfreezing: rebuilds the optimiser",
        "training/supervised_loop.py",
        "        stage = stages.current()\n",
        "        stage = stages.current()\n"
        "        optimizer = make_optimizer(recipe.optimizer, groups) if unfreeze else optimizer\n",
        THAW,
    ),
    Mutant(
        "unfreezing: the stages are not followed",
        "training/supervised_loop.py",
        "trained != self._trained",
        "self._trained is None",
        THAW,
    ),
    Mutant("rates: reversed", "training/parameter_groups.py", "(len(layers) - 1 - depth)", "depth", RATES),
    Mutant(
        "rates: a step for each tensor",
        "methods/discriminative_lr.py",
        "depth_rates([*layers, list(model.head.parameters())], cfg.lr, cfg.decay)",
        "depth_rates([[p] for p in model.parameters()], cfg.lr, cfg.decay)",
        RATES,
    ),
    Mutant(
        "rates: granularity is not read",
        "methods/discriminative_lr.py",
        'if cfg.granularity == "stage" else',
        "if True else",
        RATES,
    ),
    Mutant(
        "rates: triangle without its floor",
        "training/schedules.py",
        "(1 + height * (_SLANT - 1)) / _SLANT",
        "height",
        SCHEDULES,
    ),
    Mutant(
        "prefix: images that move are kept",
        "training/supervised_loop.py",
        'recipe.augment == "none" or ',
        "True or ",
        PREFIX,
    ),
    Mutant("prefix: whatever the memory", "training/frozen_prefix.py", "> _LARGEST", "> 2**60", PREFIX),
    Mutant(
        "bitfit: norms trained as well",
        "methods/bitfit.py",
        'if "norm" in what else set()',
        "if True else set()",
        STARTS,
    ),
    Mutant(
        "bitfit: packed biases forgotten",
        "methods/bitfit.py",
        '"bias" in name.rpartition(".")[2] and',
        '"bias" == name.rpartition(".")[2] and',
        STARTS,
    ),
    Mutant(
        "bitfit: biases of recurrent layers forgotten",
        "methods/bitfit.py",
        '"bias" in name.rpartition(".")[2] and',
        'name.endswith("bias") and',
        BITFIT,
    ),
    Mutant("bitfit: tables among the biases", "methods/bitfit.py", " and p.ndim == 1", "", BITFIT),
    Mutant("bitfit: nothing to train passes", "methods/bitfit.py", "    if not chosen:\n", "    if False:\n", BITFIT),
    Mutant("bitfit: batch statistics move", "methods/bitfit.py", 'Field("frozen", ', 'Field("train", ', BITFIT),
    Mutant("lp_ft: starts from zero", "training/probe.py", "model.head.weight.copy_(weights)", "pass", STARTS),
    Mutant(
        "lp_ft: centring is not folded",
        "training/probe.py",
        "self.bias.double() - weights @ self.mean.double()",
        "self.bias.double()",
        STARTS,
    ),
    Mutant("lp_ft: the probe does not compete", "methods/lp_ft.py", ", from_start=True", "", STARTS),
    Mutant(
        "lp_ft: folded in single precision",
        PROBE,
        "weights = self.weights.double() / self.scale.double()",
        "weights = (self.weights / self.scale).double()",
        LP_FT,
    ),
    Mutant(
        "lp_ft: each process starts from its own probe",
        PROBE,
        "probe = from_first_process(replace(probe, **tensors))",
        "probe = replace(probe, **tensors)",
        LP_FT,
    ),
    Mutant(
        "lp_ft: the probe counts as the first epoch",
        "training/epoch_loop.py",
        "        self.best_epoch = -1\n",
        "        self.best_epoch = 0\n",
        LP_FT,
    ),
    Mutant(
        "lp_ft: the whole network counted where the probe won",
        "methods/lp_ft.py",
        'if ctx.selected.get("epoch") == -1:',
        "if False:",
        LP_FT,
    ),
    Mutant("lp_ft: batch statistics move", "methods/lp_ft.py", 'Field("frozen", ', 'Field("train", ', STARTS),
    Mutant(
        "l2_sp: the gradient forgets its factor",
        "methods/l2_sp.py",
        "torch._foreach_mul(ctx.moved, gradients[0])",
        "ctx.moved",
        L2_SP,
    ),
    Mutant(
        "l2_sp: the head is not pulled", "methods/l2_sp.py", "to_start() + cfg.beta * to_zero()", "to_start()", L2_SP
    ),
    Mutant(
        "l2_sp: each process counts the penalty",
        "training/supervised_loop.py",
        "mean + penalty()",
        "mean + ctx.world * penalty()",
        L2_SP,
    ),
    Mutant("l2_sp: distance that is not squared", "methods/l2_sp.py", ".square().sum()", ".sum()", L2_SP),
    Mutant(
        "l2_sp: pulls to zero",
        "methods/l2_sp.py",
        "pull(backbone.parameters())",
        "pull(backbone.parameters(), start=0.0)",
        STARTS,
    ),
    Mutant("l2_sp: not halved", "methods/l2_sp.py", "return 0.5 * ", "return ", STARTS),
    Mutant(
        "wise_ft: ends exchanged",
        "methods/wise_ft.py",
        "[start[name] for name in names], [end[name] for name in names]",
        "[end[name] for name in names], [start[name] for name in names]",
        STARTS,
    ),
    Mutant("wise_ft: counters interpolated", "methods/wise_ft.py", "if v.is_floating_point() and", "if", STARTS),
    Mutant(
        "wise_ft: counters of the end everywhere",
        "methods/wise_ft.py",
        "nearer = start if alpha < 0.5 else end",
        "nearer = end",
        WISE_FT,
    ),
    Mutant(
        "wise_ft: no way between infinite values",
        "methods/wise_ft.py",
        " and not torch.equal(v, start[name])",
        "",
        WISE_FT,
    ),
    Mutant(
        "wise_ft: the whole network counted at its start", "methods/wise_ft.py", "if alpha == 0:", "if False:", WISE_FT
    ),
    Mutant("wise_ft: all the way without validation", "methods/wise_ft.py", "UNTUNED = 0.5", "UNTUNED = 1.0", STARTS),
    Mutant(
        "wise_ft: the last share wins ties",
        "methods/wise_ft.py",
        "max(tried, key=lambda one: one[0].order)",
        "max(tried, key=lambda one: (one[0].accuracy, one[1]))",
        WISE_FT,
    ),
)
