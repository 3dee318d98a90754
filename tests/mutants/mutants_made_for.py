"""Mutants of inputs: what would have a network read images or texts that it was not made for."""

from __future__ import annotations

from mutant import Mutant

FRAMING, MIXED, FRAMED = "tlbench.data.framing", "tlbench.data.mixed_images", "tlbench.data.framed"
RECIPE, BACKBONE = "tlbench.backbones.image_recipe", "tlbench.backbones.backbone"
TIMM, TORCHVISION = "tlbench.backbones.families.timm", "tlbench.backbones.families.torchvision"
METADATA, SENTENCES = "tlbench.backbones.weights_metadata", "tlbench.backbones.huggingface_sentences"
IMAGES, BODY = "tlbench.backbones.huggingface_images", "tlbench.backbones.huggingface_body"

INPUTS, KEPT = "tests/backbones/test_image_inputs.py", "tests/data/test_mixed_images.py"
ENCODERS, SPOKEN = "tests/backbones/test_huggingface_images.py", "tests/backbones/test_sentence_encoders.py"

MUTANTS = (
    Mutant(
        "made for: images are squashed",
        f"{FRAMING}:Framing.scaled",
        'self.fit == "squash" or height == width',
        "True",
        f"{INPUTS}::test_what_lies_beside_the_middle_is_not_seen",
    ),
    Mutant(
        "made for: the corner is read, not the middle",
        f"{FRAMING}:start_of_middle",
        "(length - size) / 2",
        "min(0, length - size) / 2",
        f"{INPUTS}::test_what_lies_beside_the_middle_is_not_seen",
    ),
    Mutant(
        "made for: all is read that evaluations cut off",
        f"{RECIPE}:framing",
        'recipe.get("resize", size)',
        "size",
        f"{INPUTS}::test_a_suite_may_say_otherwise",
    ),
    Mutant(
        "made for: bicubic overshoots",
        f"{BACKBONE}:Prepare.forward",
        'framing.interpolation == "bicubic"',
        "False",
        f"{INPUTS}::test_another_size_keeps_the_fraction_that_is_cut_out",
    ),
    Mutant(
        "made for: a file for torchvision is read as a random network",
        f"{TORCHVISION}:describe_file",
        "Given(_evaluation(model, model.weights[model.default]), published=False)",
        "None",
        f"{INPUTS}::test_a_file_of_another_program_gets_what_its_network_was_made_for",
    ),
    Mutant(
        "made for: every file has the standard stem",
        f"{TORCHVISION}:_is_small",
        "shape[-1] == layout.small.kernel",
        "False",
        f"{INPUTS}::test_a_file_with_the_small_stem_is_known_by_its_first_convolution",
    ),
    Mutant(
        "made for: a file for timm is read as a random network",
        f"{TIMM}:describe_file",
        '_evaluation(_configuration(name.removeprefix(_PREFIX), ""))',
        "None",
        f"{INPUTS}::test_a_file_for_timm_gets_what_timms_default_weights_were_made_for",
    ),
    Mutant(
        "made for: what our own files say is not read",
        f"{METADATA}:recorded_recipe",
        'recipe.get("name") == name',
        "False",
        f"{INPUTS}::test_a_file_of_this_package_says_how_its_network_reads",
    ),
    Mutant(
        "made for: mixed sizes lose their middle to rounding",
        f"{MIXED}:squared",
        "start_of_middle(length, size) - within",
        "start_of_middle(length, side)",
        f"{KEPT}::test_networks_read_the_pixels_that_they_would_read_of_the_whole_image",
    ),
    Mutant(
        "made for: large images are kept whole",
        f"{MIXED}:bounded",
        "min(height, width) <= LONGEST_SHORT_SIDE",
        "True",
        f"{KEPT}::test_large_images_are_kept_up_to_a_bound",
    ),
    Mutant(
        "made for: sizes do not name a dataset",
        "tlbench.data.decoded:_pieces",
        'yield x.sizes.astype("<i8").tobytes()',
        "pass",
        f"{KEPT}::test_other_pixels_or_another_size_are_another_dataset",
    ),
    Mutant(
        "made for: sentence encoders take the mean",
        f"{SENTENCES}:pooling_of",
        'settings.pooling or "mean"',
        '"mean"',
        f"{SPOKEN}::test_pooling_and_length_are_the_encoders_own",
    ),
    Mutant(
        "made for: cut texts are not counted",
        "tlbench.data.tokenizer:encode",
        "bool(text.overflowing)",
        "False",
        "tests/data/test_tokenized.py::test_texts_that_are_cut_are_counted",
    ),
    Mutant(
        "made for: a pooling layer trained for another task stays",
        f"{BODY}:ImageBody.__init__",
        "isinstance(getattr(getattr(model, 'pooler', None), 'dense', None), nn.Linear)",
        "False",
        f"{ENCODERS}::test_features_are_what_the_library_pools_of_what_its_processor_makes",
    ),
    Mutant(
        "made for: positions are not interpolated",
        f"{BODY}:ImageBody.__init__",
        "knows and not fits",
        "False",
        f"{ENCODERS}::test_positions_are_interpolated_to_another_size",
    ),
    Mutant(
        "made for: processors' crops are not read",
        f"{IMAGES}:_evaluation",
        "getattr(processor, 'do_center_crop', False) and cut",
        "False",
        f"{ENCODERS}::test_features_are_what_the_library_pools_of_what_its_processor_makes",
    ),
)
