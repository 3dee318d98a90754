"""Mutants of groups and rotations: what would let test classes, or their rotations, into training."""

from __future__ import annotations

from mutant import Mutant

TESTS = "tests/data/test_folder_episodes.py"

MUTANTS = (
    Mutant(
        "rotations: turned classes are dealt apart",
        "data/rotations.py",
        "splits = decoded.class_splits or deal(decoded.classes)",
        "splits = decoded.class_splits",
        f"{TESTS}::test_turned_classes_stay_together_where_no_groups_are",
    ),
    Mutant(
        "rotations: turned classes are numbered by class",
        "data/rotations.py",
        "part: tuple(label + turn * classes for turn in range(TURNS) for label in labels)",
        "part: tuple(TURNS * label + turn for turn in range(TURNS) for label in labels)",
        f"{TESTS}::test_a_turned_class_and_a_turned_image_stay_beside_the_original",
    ),
    Mutant(
        "rotations: a turned image on another side of the example split",
        "data/rotations.py",
        "part=np.tile(decoded.part, TURNS)",
        "part=np.repeat(decoded.part, TURNS)",
        f"{TESTS}::test_a_turned_class_and_a_turned_image_stay_beside_the_original",
    ),
    Mutant(
        "rotations: turned twice alike",
        "data/rotations.py",
        "np.rot90(x[rows], turn, axes=(2, 3))",
        "np.rot90(x[rows], turn % 3, axes=(2, 3))",
        f"{TESTS}::test_turned_classes_are_classes_of_turned_images",
    ),
    Mutant(
        "groups: classes for validation are trained on",
        "data/groups.py",
        "for label, out in zip(train, held, strict=True) if not out",
        "for label, out in zip(train, held, strict=True)",
        f"{TESTS}::test_without_groups_for_validation_a_fifth_of_the_training_classes_is",
    ),
    Mutant(
        "groups: groups for testing are trained on",
        "data/groups.py",
        "if group not in (*tested, *validated)",
        "if group not in validated",
        f"{TESTS}::test_groups_are_taken_by_name",
    ),
    Mutant(
        "groups: groups for validation are those for testing",
        "data/groups.py",
        "left = [group for group in order if group not in taken]",
        "left = list(order)",
        f"{TESTS}::test_a_number_of_groups_is_taken_by_name_hash_and_nested",
    ),
    Mutant(
        "folder: nothing is inverted",
        "data/folder.py",
        "255 - pixels if params.invert else pixels",
        "pixels",
        f"{TESTS}::test_inversion_swaps_black_and_white",
    ),
)
