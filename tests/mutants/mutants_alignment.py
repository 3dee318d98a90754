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
        "tlbench.training.adaptation.gradient_reversal:_Reversed.backward",
        "-strength.to(gradients[0].dtype)",
        "strength.to(gradients[0].dtype)",
        ADVERSARY,
    ),
    Mutant(
        "dann: features changed on the way forward",
        "tlbench.training.adaptation.gradient_reversal:_Reversed.forward",
        "z.view_as(z)",
        "z * strength",
        ADVERSARY,
    ),
    Mutant(
        "dann: lambda on the discriminator too",
        "tlbench.methods.dann:adversarial",
        "domain_loss(discriminator(reversed_), len(step.source.z))",
        "strength * alignment_ramp(step.progress) * domain_loss(discriminator(reversed_), len(step.source.z))",
        GRADIENTS,
    ),
    Mutant(
        "dann: ramp on the whole loss",
        "tlbench.methods.dann:fit.loss",
        "cfg.weight",
        "cfg.weight * alignment_ramp(step.progress)",
        STEPS,
    ),
    Mutant(
        "dann: lambda by epoch",
        "tlbench.methods.dann:adversarial",
        "alignment_ramp(step.progress)",
        "alignment_ramp(int(4 * step.progress) / 4)",
        STRENGTH,
    ),
    Mutant(
        "dann: lambda without end value",
        "tlbench.methods.dann:adversarial",
        "strength * alignment_ramp(step.progress)",
        "alignment_ramp(step.progress)",
        STRENGTH,
    ),
    Mutant(
        "dann: both domains' losses in full",
        "tlbench.training.adaptation.discriminator:domain_loss",
        ".mean()",
        ".sum()",
        HALVES,
    ),
    Mutant(
        "dann: domains mixed up in size",
        "tlbench.methods.dann:adversarial",
        "len(step.source.z)",
        "len(step.target.z)",
        HALVES,
    ),
    Mutant(
        "dann: ramp of another steepness",
        "tlbench.training.adaptation.alignment_ramp:_STEEPNESS",
        "10",
        "5",
        ADVERSARY,
    ),
    Mutant(
        "adaptation: target labels used",
        "tlbench.training.adaptation.adaptation_loop:supervised_loss",
        "(step.source, step.shots)",
        "(step.source, step.shots, step.target)",
        HIDDEN,
    ),
    Mutant(
        "mcc: target labels used",
        "tlbench.methods.mcc:fit.loss",
        "class_confusion(step.target.logits, cfg.temperature)",
        "step.target.y.float().var() * class_confusion(step.target.logits, cfg.temperature)",
        f"{STEPS}[mcc-0]",
    ),
    Mutant("cdan: gradient through the predictions", "tlbench.methods.cdan:adversarial", ".detach()", "", CONDITIONED),
    Mutant("cdan: certainty forgotten", "tlbench.methods.cdan:adversarial", "cfg.entropy", "False", CERTAIN),
    Mutant(
        "cdan: certain and uncertain changed over",
        "tlbench.training.adaptation.information_maximization:certainty_weights",
        "-torch.special.entr(p).sum(1)",
        "torch.special.entr(p).sum(1)",
        CERTAIN,
    ),
    Mutant(
        "cdan: weights over both domains together",
        "tlbench.training.adaptation.discriminator:domain_loss",
        "/ weight.sum()",
        "/ weights.sum() * 2",
        CERTAIN,
    ),
    Mutant(
        "cdan: sum in place of the product",
        "tlbench.training.adaptation.multilinear_conditioning:MultilinearConditioning.forward",
        "* z[:, None, :]",
        "+ z[:, None, :]",
        CONDITIONED,
    ),
    Mutant(
        "cdan: projection not scaled",
        "tlbench.training.adaptation.multilinear_conditioning:MultilinearConditioning.forward",
        "/ _PROJECTED_WIDTH ** 0.5",
        "",
        f"{ADVERSARY}",
    ),
    Mutant("mmd: diagonal kept", "tlbench.training.adaptation.mmd:squared_mmd", "- block.trace()", "", MMD),
    Mutant("mmd: mean over all pairs", "tlbench.training.adaptation.mmd:squared_mmd", "- len(block)", "", MMD),
    Mutant("mmd: pairs across counted once", "tlbench.training.adaptation.mmd:squared_mmd", "- across[1]", "", MMD),
    Mutant(
        "mmd: bandwidth not detached",
        "tlbench.training.adaptation.mmd:gaussian_kernels",
        ".apply(distances, 1 / (2 * widest * mean), kernels)",
        ".apply(distances / distances.sum() * distances.detach().sum(), 1 / (2 * widest * mean), kernels)",
        MMD,
    ),
    Mutant(
        "mmd: slope of one kernel", "tlbench.training.adaptation.mmd:_GaussianKernels.forward", "2**power", "1", MMD
    ),
    Mutant(
        "mmd: slope averaged",
        "tlbench.training.adaptation.mmd:_GaussianKernels.forward",
        "slope_rows.mul_(-factor)",
        "slope_rows.mul_(-factor / kernels)",
        MMD,
    ),
    Mutant(
        "mmd: blocks not mirrored",
        "tlbench.training.adaptation.mmd:_SquaredDistances.forward",
        "products[start:end, :start].T",
        "0",
        MMD,
    ),
    Mutant(
        "mmd: fixed bandwidth",
        "tlbench.training.adaptation.mmd:gaussian_kernels",
        "mean.clamp_min",
        "torch.ones_like(mean).clamp_min",
        MMD,
    ),
    Mutant(
        "mmd: deviation in place of variance",
        "tlbench.training.adaptation.mmd:gaussian_kernels",
        "mean.clamp_min",
        "mean.sqrt().clamp_min",
        MMD,
    ),
    Mutant("mmd: zero bandwidth", "tlbench.training.adaptation.mmd:gaussian_kernels", "** 0.5", "* 0", MMD),
    Mutant(
        "mmd: few kernels too wide", "tlbench.training.adaptation.mmd:gaussian_kernels", "- (5 - kernels) // 2", "", MMD
    ),
    Mutant(
        "mmd: kernels averaged",
        "tlbench.training.adaptation.mmd:_GaussianKernels.forward",
        "total_rows.add_(kernel)",
        "total_rows.add_(kernel / kernels)",
        MMD,
    ),
    Mutant(
        "mmd: probabilities under a kernel half as wide",
        "tlbench.training.adaptation.mmd:probability_kernel",
        "-_PROBABILITY_WIDTH",
        "-_PROBABILITY_WIDTH * 2",
        MMD,
    ),
    Mutant(
        "mmd: rows not centred",
        "tlbench.training.adaptation.mmd:_SquaredDistances.forward",
        "z - z.mean(0)",
        "z.clone()",
        MMD,
    ),
    Mutant(
        "mmd: negative distances",
        "tlbench.training.adaptation.mmd:_SquaredDistances.forward",
        ".clamp_(min=0)",
        "",
        MMD,
    ),
    Mutant(
        "mmd: half the gradient",
        "tlbench.training.adaptation.mmd:_SquaredDistances.backward",
        "torch.addmm(z * weights.sum(1, keepdim=True), weights, z, beta=2, alpha=-2)",
        "torch.addmm(z * weights.sum(1, keepdim=True), weights, z, beta=1, alpha=-1)",
        MMD,
    ),
    Mutant(
        "mmd: gradient of symmetric weights only",
        "tlbench.training.adaptation.mmd:_SquaredDistances.backward",
        "gradients[0] + gradients[0].T",
        "2 * gradients[0]",
        MMD,
    ),
    Mutant(
        "mmd: distances in low precision",
        "tlbench.training.adaptation.mmd:squared_distances",
        "at_least_float32(z)",
        "z",
        MMD,
    ),
    Mutant("mmd: joint of logits", "tlbench.methods.mmd:domain_discrepancy", "logits.softmax(1)", "logits", LAYERS),
    Mutant(
        "mmd: joint by a sum",
        "tlbench.methods.mmd:domain_discrepancy",
        "kernel * probability_kernel(squared_distances(logits.softmax(1)))",
        "kernel + probability_kernel(squared_distances(logits.softmax(1)))",
        LAYERS,
    ),
    Mutant(
        "mmd: biased all the same",
        "tlbench.methods.mmd:domain_discrepancy",
        'cfg.estimate == "unbiased"',
        "False",
        LAYERS,
    ),
    Mutant(
        "mmd: full weight from the start", "tlbench.methods.mmd:fit.loss", "* alignment_ramp(step.progress)", "", STEPS
    ),
    Mutant(
        "coral: full weight from the start",
        "tlbench.methods.coral:fit.loss",
        "* alignment_ramp(step.progress)",
        "",
        STEPS,
    ),
    Mutant(
        "mcc: full weight from the start", "tlbench.methods.mcc:fit.loss", "* alignment_ramp(step.progress)", "", STEPS
    ),
    Mutant("mcc: confusion of the source", "tlbench.methods.mcc:fit.loss", ".target.logits", ".source.logits", STEPS),
    Mutant("coral: divided by n", "tlbench.training.adaptation.coral:_covariance", "len(z) - 1", "len(z)", LOSSES),
    Mutant("coral: not centred", "tlbench.training.adaptation.coral:_covariance", "z - z.mean(0)", "z", LOSSES),
    Mutant("coral: divided by the width", "tlbench.training.adaptation.coral:covariance_distance", "** 2", "", LOSSES),
    Mutant(
        "coral: no 4",
        "tlbench.training.adaptation.coral:covariance_distance",
        "4 * source.shape[1] ** 2",
        "source.shape[1] ** 2",
        LOSSES,
    ),
    Mutant(
        "coral: in low precision",
        "tlbench.training.adaptation.coral:covariance_distance",
        "enabled=False",
        "enabled=True",
        LOSSES,
    ),
    Mutant(
        "mcc: gradient through the weights",
        "tlbench.training.adaptation.class_confusion:class_confusion",
        "torch.no_grad()",
        "torch.enable_grad()",
        LOSSES,
    ),
    Mutant(
        "mcc: examples weigh alike",
        "tlbench.training.adaptation.class_confusion:class_confusion",
        "certainty_weights(p)",
        "torch.ones_like(p[:, 0])",
        LOSSES,
    ),
    Mutant(
        "mcc: not softened",
        "tlbench.training.adaptation.class_confusion:class_confusion",
        "logits / temperature",
        "logits",
        LOSSES,
    ),
    Mutant(
        "mcc: not normalised",
        "tlbench.training.adaptation.class_confusion:class_confusion",
        "confusion.sum(1)",
        "confusion.sum()",
        LOSSES,
    ),
    Mutant(
        "information: all in one class",
        "tlbench.training.adaptation.information_maximization:information_loss",
        "(mean * log_mean).sum()",
        "0 * (mean * log_mean).sum()",
        LOSSES,
    ),
    Mutant(
        "information: less certain",
        "tlbench.training.adaptation.information_maximization:information_loss",
        "-(p * log_p).sum(1).mean()",
        "(p * log_p).sum(1).mean()",
        LOSSES,
    ),
    Mutant(
        "adabn: variance about another mean",
        "tlbench.training.adaptation.batch_norm_statistics:_input_moments",
        "square - mean.square()",
        "square",
        POOLED,
    ),
    Mutant(
        "adabn: layers in the order of their registration",
        "tlbench.training.forward_hooks:call_order",
        "list(called)",
        "list(modules)",
        POOLED,
    ),
    Mutant(
        "adabn: sums far from zero",
        "tlbench.training.adaptation.batch_norm_statistics:_input_moments.accumulate",
        "x = x - origin[:, None]",
        "origin, x = 0 * origin, x - 0 * origin[:, None]",
        f"{METHODS}::test_pooled_moments_far_from_zero_do_not_cancel",
    ),
    Mutant(
        "adabn: first piece alone",
        "tlbench.training.adaptation.batch_norm_statistics:_input_moments",
        "range(0, count, _BATCH_SIZE)",
        "range(1)",
        POOLED,
    ),
    Mutant(
        "adabn: one piece weighs as much as another",
        "tlbench.training.adaptation.batch_norm_statistics:_input_moments.accumulate",
        "sums.to(batch) + batch, values + x.shape[1]",
        "sums.to(batch) + batch / x.shape[1], values + 1",
        POOLED,
    ),
    Mutant(
        "adabn: proposed before it is adapted",
        "tlbench.methods.adabn:fit.adapt",
        "set_batch_norm_statistics(model, target.x, ctx.device)",
        "0 and (model, target.x, ctx.device)",
        ADABN,
    ),
    Mutant("shot: head not frozen", "tlbench.methods.shot:adapt", "False", "True", HEAD),
    Mutant(
        "shot: source read again",
        "tlbench.methods.shot:adapt",
        '("shots", "target")',
        '("source", "shots", "target")',
        HEAD,
    ),
    Mutant(
        "shot: source's model proposed",
        "tlbench.methods.shot:fit",
        "adds_candidates=False",
        "adds_candidates=True",
        PROPOSED,
    ),
    Mutant(
        "shot: no smoothing",
        "tlbench.methods.shot:fit",
        "supervised_loss(step, cfg.smoothing)",
        "supervised_loss(step)",
        SMOOTHED,
    ),
    Mutant(
        "shot: own labels out of order",
        "tlbench.methods.shot:adapt.loss",
        "assigned[step.target.rows.to(assigned.device)]",
        "assigned[:len(step.target.rows)]",
        RENEWED,
    ),
    Mutant(
        "shot: own labels given once",
        "tlbench.training.adaptation.adaptation_loop:train_on_domains",
        "options.refresh is not None",
        "options.refresh is not None and check == 0",
        RENEWED,
    ),
    Mutant(
        "shot: centres of the first guess",
        "tlbench.training.adaptation.pseudo_labels:centroid_labels",
        "assigned.T @ z",
        "p.T @ z",
        CENTRES,
    ),
    Mutant(
        "shot: examples of any length",
        "tlbench.training.adaptation.pseudo_labels:centroid_labels",
        "normalize(z)",
        "1 * z",
        CENTRES,
    ),
    Mutant(
        "shot: empty class open to all",
        "tlbench.training.adaptation.pseudo_labels:centroid_labels",
        "similarity.masked_fill(assigned.sum(0) == 0, -torch.inf)",
        "similarity + 2 * (assigned.sum(0) == 0)",
        f"{METHODS}::test_a_class_without_examples_is_given_to_nobody",
    ),
)
