"""Mutants of adaptation to another domain: its losses, what they are put on, and what they may read."""

from __future__ import annotations

from mutant import Mutant

METHODS = "tests/methods/test_domain_alignment.py"
ADVERSARY, LOSSES, MMD = (f"tests/training/test_{name}.py" for name in ("adversary", "alignment", "mmd"))
STEPS = f"{METHODS}::test_every_step_minimises_the_labels_loss_and_a_weighted_term_that_sets_in_with_the_ramp"
GRADIENTS = f"{METHODS}::test_danns_features_get_minus_lambda_of_the_gradient_and_its_discriminator_all_of_it"
HALVES = f"{METHODS}::test_dann_is_half_of_both_domains_cross_entropies"
STRENGTH = f"{METHODS}::test_an_adversarys_strength_follows_every_step"
HIDDEN = f"{METHODS}::test_labels_of_the_unlabelled_target_would_change_nothing"
CONDITIONED = f"{METHODS}::test_cdan_reads_the_outer_product_and_lets_no_gradient_to_the_predictions"
CERTAIN = f"{METHODS}::test_cdan_with_entropy_weighs_the_certain_more_within_each_domain"
LAYERS = f"{METHODS}::test_mmd_compares_the_layer_that_it_is_told_to"
POOLED = f"{METHODS}::test_pooled_moments_are_those_of_the_whole_set_as_one_batch"
ADABN = f"{METHODS}::test_adabn_is_training_on_the_source_with_other_moments"
HEAD = f"{METHODS}::test_shot_leaves_the_head_as_the_source_made_it_and_reads_no_source"
PROPOSED = f"{METHODS}::test_shot_proposes_no_model_from_before_the_adaptation"
SMOOTHED = f"{METHODS}::test_shot_smooths_the_labels_of_the_source_and_keeps_the_targets_shots_in_sight"
RENEWED = f"{METHODS}::test_shots_own_labels_are_renewed_at_every_check_and_follow_the_examples"
CENTRES = f"{METHODS}::test_shots_own_labels_are_those_of_the_nearest_centre_renewed_once"

MUTANTS = (
    Mutant(
        "dann: gradient not turned round",
        "training/adaptation/gradient_reversal.py",
        "gradients[0] * -strength",
        "gradients[0] * strength",
        ADVERSARY,
    ),
    Mutant(
        "dann: features changed on the way forward",
        "training/adaptation/gradient_reversal.py",
        "z.view_as(z)",
        "z * strength",
        ADVERSARY,
    ),
    Mutant(
        "dann: lambda on the discriminator too",
        "methods/dann.py",
        "return domain_loss(",
        "return strength * ramp(step.progress) * domain_loss(",
        GRADIENTS,
    ),
    Mutant(
        "dann: ramp on the whole loss",
        "methods/dann.py",
        "cfg.weight * adversarial(",
        "cfg.weight * ramp(step.progress) * adversarial(",
        STEPS,
    ),
    Mutant(
        "dann: lambda by epoch", "methods/dann.py", "ramp(step.progress)", "ramp(int(4 * step.progress) / 4)", STRENGTH
    ),
    Mutant("dann: lambda without end value", "methods/dann.py", "strength * ramp(", "ramp(", STRENGTH),
    Mutant(
        "dann: both domains' losses in full",
        "training/adaptation/discriminator.py",
        "strict=True)\n    return torch.stack([(part * weight).sum() / weight.sum() for part, weight in parts]).mean()",
        "strict=True)\n    return torch.stack([(part * weight).sum() / weight.sum() for part, weight in parts]).sum()",
        HALVES,
    ),
    Mutant("dann: domains mixed up in size", "methods/dann.py", "len(step.source.z))", "len(step.target.z))", HALVES),
    Mutant(
        "dann: ramp of another steepness",
        "training/adaptation/alignment_ramp.py",
        "_STEEPNESS = 10",
        "_STEEPNESS = 5",
        ADVERSARY,
    ),
    Mutant(
        "adaptation: target labels used",
        "training/adaptation/adaptation_loop.py",
        "(step.source, step.shots) if",
        "(step.source, step.shots, step.target) if",
        HIDDEN,
    ),
    Mutant(
        "mcc: target labels used",
        "methods/mcc.py",
        "confusion = class_confusion(",
        "confusion = step.target.y.float().var() * class_confusion(",
        f"{STEPS}[mcc-0]",
    ),
    Mutant(
        "cdan: gradient through the predictions", "methods/cdan.py", ".detach().softmax(1)", ".softmax(1)", CONDITIONED
    ),
    Mutant("cdan: certainty forgotten", "methods/cdan.py", "if cfg.entropy else None", "if False else None", CERTAIN),
    Mutant(
        "cdan: certain and uncertain changed over",
        "training/adaptation/information_maximization.py",
        "(-torch.special.entr(p).sum(1)).exp()",
        "torch.special.entr(p).sum(1).exp()",
        CERTAIN,
    ),
    Mutant(
        "cdan: weights over both domains together",
        "training/adaptation/discriminator.py",
        "(part * weight).sum() / weight.sum()",
        "(part * weight).sum() / weights.sum() * 2",
        CERTAIN,
    ),
    Mutant(
        "cdan: sum in place of the product",
        "training/adaptation/conditioning.py",
        "p[:, :, None] * z[:, None, :]",
        "p[:, :, None] + z[:, None, :]",
        CONDITIONED,
    ),
    Mutant("cdan: projection not scaled", "training/adaptation/conditioning.py", " / _RANDOM**0.5", "", f"{ADVERSARY}"),
    Mutant("mmd: diagonal kept", "training/adaptation/mmd.py", "each.sum() - each.trace() if", "each.sum() if", MMD),
    Mutant(
        "mmd: mean over all pairs", "training/adaptation/mmd.py", "each.numel() - len(each) if", "each.numel() if", MMD
    ),
    Mutant("mmd: pairs across counted once", "training/adaptation/mmd.py", " - across[1]", "", MMD),
    Mutant(
        "mmd: bandwidth not detached",
        "training/adaptation/mmd.py",
        "apply(distances, ",
        "apply(distances / distances.sum() * distances.detach().sum(), ",
        MMD,
    ),
    Mutant("mmd: slope of one kernel", "training/adaptation/mmd.py", "alpha=2**power", "alpha=1", MMD),
    Mutant("mmd: slope not averaged", "training/adaptation/mmd.py", "mul_(-factor / kernels)", "mul_(-factor)", MMD),
    Mutant("mmd: blocks not mirrored", "training/adaptation/mmd.py", "products[start:end, :start].T", "0", MMD),
    Mutant(
        "mmd: fixed bandwidth",
        "training/adaptation/mmd.py",
        "    mean = mean.clamp_min(",
        "    mean = torch.ones_like(mean).clamp_min(",
        MMD,
    ),
    Mutant(
        "mmd: deviation in place of variance",
        "training/adaptation/mmd.py",
        "    mean = mean.clamp_min(",
        "    mean = mean.sqrt().clamp_min(",
        MMD,
    ),
    Mutant("mmd: zero bandwidth", "training/adaptation/mmd.py", ".tiny ** 0.5)", ".tiny * 0)", MMD),
    Mutant("mmd: few kernels too wide", "training/adaptation/mmd.py", " - (5 - kernels) // 2)", ")", MMD),
    Mutant("mmd: kernels not averaged", "training/adaptation/mmd.py", "total.div_(kernels)", "total.div_(1)", MMD),
    Mutant("mmd: rows not centred", "training/adaptation/mmd.py", "z = z - z.mean(0)", "z = z.clone()", MMD),
    Mutant("mmd: negative distances", "training/adaptation/mmd.py", ".clamp_(min=0)", "", MMD),
    Mutant("mmd: half the gradient", "training/adaptation/mmd.py", "beta=2, alpha=-2", "beta=1, alpha=-1", MMD),
    Mutant(
        "mmd: gradient of symmetric weights only",
        "training/adaptation/mmd.py",
        "gradients[0] + gradients[0].T",
        "2 * gradients[0]",
        MMD,
    ),
    Mutant("mmd: distances in low precision", "training/adaptation/mmd.py", "(at_least_single(z))", "(z)", MMD),
    Mutant("mmd: joint of logits", "methods/mmd.py", "logits.softmax(1)]", "logits]", LAYERS),
    Mutant("mmd: sum of kernels", "methods/mmd.py", "math.prod(", "sum(", LAYERS),
    Mutant("mmd: biased all the same", "methods/mmd.py", 'cfg.estimate == "unbiased"', "False", LAYERS),
    Mutant("mmd: full weight from the start", "methods/mmd.py", "ramp(step.progress) * ", "", STEPS),
    Mutant("coral: full weight from the start", "methods/coral.py", "ramp(step.progress) * ", "", STEPS),
    Mutant("mcc: full weight from the start", "methods/mcc.py", "ramp(step.progress) * ", "", STEPS),
    Mutant("mcc: confusion of the source", "methods/mcc.py", "step.target.logits", "step.source.logits", STEPS),
    Mutant("coral: divided by n", "training/adaptation/coral.py", "(len(z) - 1)", "len(z)", LOSSES),
    Mutant("coral: not centred", "training/adaptation/coral.py", "centred = z - z.mean(0)", "centred = z", LOSSES),
    Mutant(
        "coral: divided by the width", "training/adaptation/coral.py", "source.shape[1] ** 2", "source.shape[1]", LOSSES
    ),
    Mutant("coral: no 4", "training/adaptation/coral.py", "(4 * source.shape[1] ** 2)", "source.shape[1] ** 2", LOSSES),
    Mutant("coral: in low precision", "training/adaptation/coral.py", "enabled=False", "enabled=True", LOSSES),
    Mutant(
        "mcc: gradient through the weights",
        "training/adaptation/class_confusion.py",
        "torch.no_grad()",
        "torch.enable_grad()",
        LOSSES,
    ),
    Mutant(
        "mcc: examples weigh alike",
        "training/adaptation/class_confusion.py",
        "certainty(p)",
        "torch.ones_like(p[:, 0])",
        LOSSES,
    ),
    Mutant("mcc: not softened", "training/adaptation/class_confusion.py", "(logits / temperature)", "logits", LOSSES),
    Mutant(
        "mcc: not normalised", "training/adaptation/class_confusion.py", "confused.sum(1)", "confused.sum()", LOSSES
    ),
    Mutant(
        "information: all in one class",
        "training/adaptation/information_maximization.py",
        "+ (mean * mean",
        "+ 0 * (mean * mean",
        LOSSES,
    ),
    Mutant(
        "information: less certain",
        "training/adaptation/information_maximization.py",
        "return -(p * logs)",
        "return (p * logs)",
        LOSSES,
    ),
    Mutant(
        "adabn: variance about another mean",
        "training/adaptation/batch_norm_moments.py",
        " - mean.square()",
        "",
        POOLED,
    ),
    Mutant(
        "adabn: layers in the order of their registration",
        "training/adaptation/batch_norm_moments.py",
        "return list(found)",
        "return kept",
        POOLED,
    ),
    Mutant(
        "adabn: sums far from zero",
        "training/adaptation/batch_norm_moments.py",
        "x = x - origin[:, None]",
        "origin, x = 0 * origin, x - 0 * origin[:, None]",
        f"{METHODS}::test_pooled_moments_far_from_zero_do_not_cancel",
    ),
    Mutant(
        "adabn: first piece alone",
        "training/adaptation/batch_norm_moments.py",
        "range(0, count, _BATCH)",
        "range(1)",
        POOLED,
    ),
    Mutant(
        "adabn: one piece weighs as much as another",
        "training/adaptation/batch_norm_moments.py",
        "sums, values = sums.to(found) + found, values + x.shape[1]",
        "sums, values = sums.to(found) + found / x.shape[1], values + 1",
        POOLED,
    ),
    Mutant(
        "adabn: proposed before it is adapted",
        "methods/adabn.py",
        "        use_moments(trained, target.x",
        "        0 and (trained, target.x",
        ADABN,
    ),
    Mutant("shot: head not frozen", "methods/shot.py", "requires_grad_(False)", "requires_grad_(True)", HEAD),
    Mutant("shot: source read again", "methods/shot.py", '("shots", "target")', '("source", "shots", "target")', HEAD),
    Mutant("shot: source's model proposed", "methods/shot.py", "proposes=False", "proposes=True", PROPOSED),
    Mutant("shot: no smoothing", "methods/shot.py", "supervised(step, cfg.smoothing)", "supervised(step)", SMOOTHED),
    Mutant(
        "shot: own labels out of order",
        "methods/shot.py",
        "own[step.target.rows.to(own.device)]",
        "own[: len(step.target.rows)]",
        RENEWED,
    ),
    Mutant(
        "shot: own labels given once",
        "training/adaptation/adaptation_loop.py",
        "if refresh is not None:",
        "if refresh is not None and check == 0:",
        RENEWED,
    ),
    Mutant(
        "shot: centres of the first guess",
        "training/adaptation/pseudo_labels.py",
        "closeness = z @ normalize(chosen.T @ z).T",
        "closeness = z @ normalize(p.T @ z).T",
        CENTRES,
    ),
    Mutant(
        "shot: examples of any length",
        "training/adaptation/pseudo_labels.py",
        "    z = normalize(z)",
        "    z = 1 * z",
        CENTRES,
    ),
    Mutant(
        "shot: empty class open to all",
        "training/adaptation/pseudo_labels.py",
        "closeness.masked_fill(chosen.sum(0) == 0, -torch.inf)",
        "(closeness + 2 * (chosen.sum(0) == 0))",
        f"{METHODS}::test_a_class_without_examples_is_given_to_nobody",
    ),
)
