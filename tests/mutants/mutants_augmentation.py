"""Mutants of augmentation: what auto comes to, RandAugment, mixtures and their labels."""

from __future__ import annotations

from mutant import Mutant

AUGMENTATION = "tlbench.training.augmentation"
OPERATIONS, MIXING, RECIPE = f"{AUGMENTATION}.operations", f"{AUGMENTATION}.mixing", "tlbench.training.recipe"
OF_OPERATIONS, OF_MIXING = "tests/training/test_operations.py", "tests/training/test_mixing.py"
OF_MOVES = "tests/training/test_augmentation.py"
OF_RECIPE, OF_KIND = "tests/training/test_recipe.py", "tests/core/test_image_kind.py"
ONE_BY_ONE = f"{OF_OPERATIONS}::test_each_operation_is_torchvisions_image_by_image"
BY_KIND = f"{OF_RECIPE}::test_images_change_by_their_kind"
WRITTEN_OUT = f"{OF_MIXING}::test_a_mixed_batch_is_made_of_its_changed_images"
TOGETHER = f"{OF_MIXING}::test_processes_hold_the_batch_of_one"
CUT = f"{OF_MIXING}::test_a_cut_is_the_others_box_and_its_area_is_the_others_share"

MUTANTS = (
    Mutant(
        "augment: characters are moved by auto",
        f"{RECIPE}:usual_augmentation",
        '"none" if usual == "shift" else usual',
        "usual",
        BY_KIND,
    ),
    Mutant(
        "augment: characters are mirrored under randaugment",
        f"{RECIPE}:usual_augmentation",
        "natural_moves([shown(split.x) for split in domains], ctx.characters)",
        "natural_moves([shown(split.x) for split in domains], False)",
        BY_KIND,
        nth=2,
    ),
    Mutant(
        "augment: what auto came to is not told",
        f"{RECIPE}:usual_augmentation",
        'ctx.selected["augment"] = moves',
        "",
        BY_KIND,
    ),
    Mutant(
        "augment: randaugment's number is not read",
        f"{RECIPE}:usual_augmentation",
        'cfg.operations if cfg.augment == "randaugment" else 0',
        '2 if cfg.augment == "randaugment" else 0',
        BY_KIND,
    ),
    Mutant("augment: crops of any area", f"{RECIPE}:usual_augmentation", "cfg.crop_area", "0.08", BY_KIND),
    Mutant(
        "augment: features are images",
        f"{RECIPE}:usual_augmentation",
        "split.x.ndim != 4",
        "split.x.ndim not in (2, 4)",
        f"{OF_RECIPE}::test_what_is_no_image_never_changes",
    ),
    Mutant(
        "augment: the suite's alpha is not read",
        f"{RECIPE}:_mixing",
        "cfg.mix_alpha or USUAL_ALPHA[cfg.mix]",
        "USUAL_ALPHA[cfg.mix]",
        f"{OF_RECIPE}::test_the_weights_of_mixtures_are_the_papers_unless_the_suite_says_otherwise",
    ),
    Mutant(
        "augment: mixed images are kept",
        f"{AUGMENTATION}.policy:Augmentation.changes_images",
        'self.mix != "none"',
        "False",
        f"{OF_RECIPE}::test_the_weights_of_mixtures_are_the_papers_unless_the_suite_says_otherwise",
    ),
    Mutant(
        "augment: the kind of a domain is not read",
        "tlbench.core.image_kind:shows_characters",
        'info.origin.partition("/")[0]',
        "info.origin",
        OF_KIND,
    ),
    Mutant(
        "augment: one short name makes characters",
        "tlbench.core.image_kind:shows_characters",
        "all(len(name) == 1 for name in info.classes)",
        "any(len(name) == 1 for name in info.classes)",
        OF_KIND,
    ),
    Mutant(
        "augment: a crop fills the whole image, of which the network reads the middle",
        f"{AUGMENTATION}.placement:crop_matrices",
        "height / crop_fraction",
        "height",
        f"{OF_MOVES}::test_a_crop_fills_the_middle_that_the_network_reads",
    ),
    Mutant(
        "augment: what the network reads is forgotten",
        "tlbench.training.recipe:usual_augmentation",
        "ctx.crop_fraction",
        "1.0",
        f"{OF_RECIPE}::test_images_change_by_their_kind",
    ),
    Mutant(
        "randaugment: turns the other way", f"{OPERATIONS}:_rotate", "amount * _ANGLE", "-amount * _ANGLE", ONE_BY_ONE
    ),
    Mutant("randaugment: shears twice as far", f"{OPERATIONS}:_SHEAR", "0.3", "0.6", ONE_BY_ONE),
    Mutant(
        "randaugment: turns as if images were square",
        f"{OPERATIONS}:_moved",
        "(shear_x - sin) * height / width",
        "shear_x - sin",
        ONE_BY_ONE,
    ),
    Mutant(
        "randaugment: shifts by the other side's length",
        f"{OPERATIONS}:_translate_x",
        "x.shape[3]",
        "x.shape[2]",
        ONE_BY_ONE,
    ),
    Mutant(
        "randaugment: contrast from mean brightness of channels",
        f"{OPERATIONS}:_contrast",
        "luma(x).mean((1, 2, 3), keepdim=True)",
        "x.mean((2, 3), keepdim=True)",
        ONE_BY_ONE,
    ),
    Mutant("randaugment: keeps too few bits", f"{OPERATIONS}:_LOST_BITS", "4", "5", ONE_BY_ONE),
    Mutant(
        "randaugment: solarises the dark",
        f"{OPERATIONS}:_solarize",
        "x >= threshold",
        "x <= threshold",
        ONE_BY_ONE,
    ),
    Mutant(
        "randaugment: sharpens the border",
        f"{OPERATIONS}:_sharpness",
        "blurred[:, :, 1:-1, 1:-1] = conv2d(x, kernel.expand(x.shape[1], 1, 3, 3), groups=x.shape[1])",
        "blurred = conv2d(x, kernel.expand(x.shape[1], 1, 3, 3), groups=x.shape[1], padding=1)",
        ONE_BY_ONE,
    ),
    Mutant(
        "randaugment: one magnitude's sign for all",
        f"{OPERATIONS}:sample_operations",
        "torch.randint(0, 2, (count, number), generator=generator)",
        "torch.ones(count, number)",
        f"{OF_OPERATIONS}::test_draws_are_uniform_signed_of_one_magnitude_and_the_generators_alone",
    ),
    Mutant(
        "randaugment: draws of the global generator",
        f"{OPERATIONS}:sample_operations",
        "torch.randint(len(OPERATIONS), (count, number), generator=generator)",
        "torch.randint(len(OPERATIONS), (count, number))",
        f"{OF_OPERATIONS}::test_draws_are_uniform_signed_of_one_magnitude_and_the_generators_alone",
    ),
    Mutant(
        "randaugment: changes the images that it is given",
        f"{OPERATIONS}:apply_operations",
        "x.clone() if x.is_floating_point() else x.float()",
        "x if x.is_floating_point() else x.float()",
        f"{OF_OPERATIONS}::test_given_images_stay_as_they_were",
    ),
    Mutant(
        "randaugment: the amounts of other images",
        f"{OPERATIONS}:apply_operations",
        "amounts[rows]",
        "amounts[:len(rows)]",
        f"{OF_OPERATIONS}::test_a_batch_is_its_images_one_by_one_in_the_order_of_the_operations",
    ),
    Mutant(
        "mixup: the other's weight",
        f"{MIXING}:apply_mixtures",
        "others.lerp(x, mixtures.shares.to(x).view(-1, 1, 1, 1))",
        "x.lerp(others, mixtures.shares.to(x).view(-1, 1, 1, 1))",
        f"{OF_MIXING}::test_mixup_is_the_weighted_mean",
    ),
    Mutant("cutmix: the weight before the box is cut", f"{MIXING}:sample_mixtures", "1 - cut", "shares", CUT),
    Mutant(
        "cutmix: sides in proportion to the weight",
        f"{MIXING}:sample_mixtures",
        "(1 - shares).sqrt()",
        "(1 - shares)",
        f"{OF_MIXING}::test_boxes_have_the_area_of_the_weight_that_was_drawn",
    ),
    Mutant(
        "cutmix: all but the box",
        f"{MIXING}:apply_mixtures",
        "torch.where(inside[:, None], others, x)",
        "torch.where(inside[:, None], x, others)",
        CUT,
    ),
    Mutant(
        "mixing: one weight for a batch",
        f"{MIXING}:sample_mixtures",
        "np.random.default_rng(seed).beta(alpha, alpha, count)",
        "np.full(count, np.random.default_rng(seed).beta(alpha, alpha))",
        f"{OF_MIXING}::test_draws_come_from_the_generator_alone",
    ),
    Mutant(
        "mixing: weights that no seed decides",
        f"{MIXING}:sample_mixtures",
        "np.random.default_rng(seed)",
        "np.random.default_rng()",
        f"{OF_MIXING}::test_draws_come_from_the_generator_alone",
    ),
    Mutant(
        "mixing: the labels are not",
        "tlbench.training.supervised_loop:label_losses",
        "batch.mixed.mean(losses, _weighted(others, batch.mixed.y, weights))",
        "losses",
        f"{OF_MIXING}::test_the_loss_is_that_of_the_mixed_label",
    ),
    Mutant(
        "mixing: no smoothing of the other label",
        "tlbench.training.supervised_loop:label_losses",
        "smoothed_cross_entropy(logits, batch.mixed.y, smoothing)",
        "smoothed_cross_entropy(logits, batch.mixed.y, 0.0)",
        f"{OF_MIXING}::test_the_loss_is_that_of_the_mixed_label",
    ),
    Mutant(
        "mixing: weights changed over",
        "tlbench.training.batches:Mixed.mean",
        "others.lerp(own, self.shares.to(own.dtype))",
        "own.lerp(others, self.shares.to(own.dtype))",
        f"{OF_MIXING}::test_the_loss_is_that_of_the_mixed_label",
    ),
    Mutant(
        "mixing: the label of the image itself",
        "tlbench.training.batches:Batches._mixed",
        "y[second]",
        "y[first]",
        WRITTEN_OUT,
    ),
    Mutant(
        "mixing: the changes of other images",
        "tlbench.training.batches:Batches._mixed",
        "drawn[read]",
        "drawn[:len(read)]",
        TOGETHER,
    ),
    Mutant(
        "mixing: partners of the own shard alone",
        "tlbench.training.batches:Batches._mixed",
        "torch.cat([own, mixtures.partners])",
        "torch.cat([own, own])",
        WRITTEN_OUT,
    ),
    Mutant(
        "distillation: mixed labels are not read",
        "tlbench.methods.distillation:DistillationLoss.__call__",
        "batch.mixed is None",
        "True",
        "tests/methods/test_distillation.py::test_of_mixed_images_the_loss_is_the_mean_over_both_labels",
    ),
    Mutant(
        "simclr: the tuning's images do not change as told",
        "tlbench.methods.simclr:fit",
        "*MixingConfig.model_fields",
        "",
        "tests/methods/test_augmenting_methods.py::test_what_the_suite_says_reaches_the_training",
    ),
    Mutant(
        "views: coloured characters are mirrored",
        "tlbench.training.selfsupervised.views:view_policy",
        "characters or shape[0] == 1",
        "shape[0] == 1",
        "tests/training/test_views.py",
    ),
)
