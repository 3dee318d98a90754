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
PROBE = "tlbench.training.linear_probe"

MUTANTS = (
    Mutant(
        "unfreezing: omits the stem",
        "tlbench.methods.gradual_unfreezing:lowest_trained_groups",
        "last - 1",
        "last",
        THAW,
    ),
    Mutant(
        "unfreezing: from the bottom up",
        "tlbench.methods.gradual_unfreezing:_unfreezing.unfreeze",
        "depth >= lowest",
        "depth < len(layers) - lowest",
        THAW,
    ),
    Mutant(
        "unfreezing: rebuilds the optimiser",
        "tlbench.training.supervised_loop:train_classifier",
        "stage = stages.current()",
        ("stage = stages.current()\noptimizer = make_optimizer(recipe.optimizer, groups) if unfreeze else optimizer"),
        THAW,
    ),
    Mutant(
        "unfreezing: the stages are not followed",
        "tlbench.training.supervised_loop:_Stages.current",
        "trained != self._trained",
        "self._trained is None",
        THAW,
    ),
    Mutant(
        "rates: reversed",
        "tlbench.training.parameter_groups:layerwise_rates",
        "len(layers) - 1 - depth",
        "depth",
        RATES,
    ),
    Mutant(
        "rates: a step for each tensor",
        "tlbench.methods.discriminative_lr:fit",
        "layerwise_rates(layers, recipe.lr, decay)",
        "layerwise_rates([[p] for layer in layers for p in layer], recipe.lr, decay)",
        RATES,
    ),
    Mutant(
        "rates: granularity is not read",
        "tlbench.methods.discriminative_lr:fit",
        'cfg.granularity == "stage"',
        "True",
        RATES,
    ),
    Mutant(
        "rates: triangle without its floor",
        "tlbench.training.schedules:slanted_triangular",
        "(1 + height * (_SLANTED_RATIO - 1)) / _SLANTED_RATIO",
        "height",
        SCHEDULES,
    ),
    Mutant(
        "prefix: images that move are kept",
        "tlbench.training.supervised_loop:_Stages.__init__",
        "not self._augmentation.changes_images",
        "True",
        PREFIX,
    ),
    Mutant(
        "prefix: whatever the memory",
        "tlbench.training.frozen_prefix:cache_prefix",
        "> _MAX_BYTES",
        "> 2 ** 60",
        PREFIX,
    ),
    Mutant(
        "bitfit: norms trained as well",
        "tlbench.methods.bitfit:select_parameters",
        '"norm" in what',
        "True",
        STARTS,
    ),
    Mutant(
        "bitfit: packed biases forgotten",
        "tlbench.methods.bitfit:select_parameters",
        '"bias" in name.rpartition(".")[2]',
        '"bias" == name.rpartition(".")[2]',
        STARTS,
    ),
    Mutant(
        "bitfit: biases of recurrent layers forgotten",
        "tlbench.methods.bitfit:select_parameters",
        '"bias" in name.rpartition(".")[2]',
        'name.endswith("bias")',
        BITFIT,
    ),
    Mutant(
        "bitfit: tables among the biases", "tlbench.methods.bitfit:select_parameters", "and p.ndim == 1", "", BITFIT
    ),
    Mutant("bitfit: nothing to train passes", "tlbench.methods.bitfit:fit", "if not selected:", "if False:", BITFIT),
    Mutant("bitfit: batch statistics move", "tlbench.methods.bitfit:Config.batch_norm", '"frozen"', '"train"', BITFIT),
    Mutant(
        "lp_ft: starts from zero",
        "tlbench.training.linear_probe:initialise_head",
        "head.weight.copy_(weights)",
        "pass",
        STARTS,
    ),
    Mutant(
        "lp_ft: centring is not folded",
        "tlbench.training.linear_probe:LinearProbe.folded",
        "- weights @ self.mean.double()",
        "",
        STARTS,
    ),
    Mutant("lp_ft: the probe does not compete", "tlbench.methods.lp_ft:fit", "score_initial=True", "", STARTS),
    Mutant(
        "lp_ft: folded in single precision",
        f"{PROBE}:LinearProbe.folded",
        "self.weights.double() / self.scale.double()",
        "(self.weights / self.scale).double()",
        LP_FT,
    ),
    Mutant(
        "lp_ft: each process starts from its own probe",
        f"{PROBE}:initialise_head",
        "broadcast_from_rank_zero(probe)",
        "replace(probe, **tensors)",
        LP_FT,
    ),
    Mutant(
        "lp_ft: the probe counts as the first epoch",
        "tlbench.training.epoch_loop:Epochs.score_initial",
        "-1",
        "0",
        LP_FT,
    ),
    Mutant(
        "lp_ft: the whole network counted where the probe won",
        "tlbench.methods.lp_ft:fit",
        'if ctx.selected.get("epoch") == -1:',
        "if False:",
        LP_FT,
    ),
    Mutant("lp_ft: batch statistics move", "tlbench.methods.lp_ft:Config.batch_norm", '"frozen"', '"train"', STARTS),
    Mutant(
        "l2_sp: the gradient forgets its factor",
        "tlbench.methods.l2_sp:_HalfSquare.backward",
        "torch._foreach_mul(ctx.differences, gradients[0])",
        "ctx.moved",
        L2_SP,
    ),
    Mutant("l2_sp: the head is not pulled", "tlbench.methods.l2_sp:fit.penalty", "+ cfg.beta * from_zero()", "", L2_SP),
    Mutant(
        "l2_sp: each process counts the penalty",
        "tlbench.training.supervised_loop:_train_epoch",
        "options.penalty()",
        "ctx.group.world_size * options.penalty()",
        L2_SP,
    ),
    Mutant("l2_sp: distance that is not squared", "tlbench.methods.l2_sp:_HalfSquare.forward", ".square()", "", L2_SP),
    Mutant(
        "l2_sp: pulls to zero",
        "tlbench.methods.l2_sp:fit",
        "half_squared_distance(backbone.parameters())",
        "half_squared_distance(backbone.parameters(), start=0.0)",
        STARTS,
    ),
    Mutant(
        "l2_sp: not halved",
        "tlbench.methods.l2_sp:_HalfSquare.forward",
        "0.5 * torch.stack(torch._foreach_norm(ctx.differences)).square().sum()",
        "torch.stack(torch._foreach_norm(ctx.moved)).square().sum()",
        STARTS,
    ),
    Mutant(
        "wise_ft: ends exchanged",
        "tlbench.methods.wise_ft:interpolate_states",
        "torch._foreach_lerp([start[name] for name in names], [end[name] for name in names], alpha)",
        "torch._foreach_lerp([end[name] for name in names], [start[name] for name in names], alpha)",
        STARTS,
    ),
    Mutant(
        "wise_ft: counters interpolated",
        "tlbench.methods.wise_ft:interpolate_states",
        "v.is_floating_point()",
        "",
        STARTS,
    ),
    Mutant(
        "wise_ft: counters of the end everywhere",
        "tlbench.methods.wise_ft:interpolate_states",
        "start if alpha < 0.5 else end",
        "end",
        WISE_FT,
    ),
    Mutant(
        "wise_ft: no way between infinite values",
        "tlbench.methods.wise_ft:interpolate_states",
        "and not torch.equal(v, start[name])",
        "",
        WISE_FT,
    ),
    Mutant(
        "wise_ft: the whole network counted at its start",
        "tlbench.methods.wise_ft:fit",
        "if alpha == 0:",
        "if False:",
        WISE_FT,
    ),
    Mutant("wise_ft: all the way without validation", "tlbench.methods.wise_ft:_UNTUNED", "0.5", "1.0", STARTS),
    Mutant(
        "wise_ft: the last share wins ties",
        "tlbench.training.context:Context.choose",
        "max(scores, key=lambda value: key(scores[value]))",
        "max(reversed(list(scores)), key=lambda value: key(scores[value]))",
        WISE_FT,
    ),
)
