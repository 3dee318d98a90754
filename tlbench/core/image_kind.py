"""What images show, as far as a mirrored image may be one of another class."""

from __future__ import annotations

from tlbench.core.info import DatasetInfo

_CHARACTERS = frozenset(
    (
        *("digits", "rendered_digits", "glyphs"),
        *("MNIST", "EMNIST", "KMNIST", "QMNIST", "Omniglot", "SEMEION", "SVHN", "USPS"),
        *("GTSRB", "RenderedSST2"),  # signs, and lines of text
    )
)


def shows_characters(info: DatasetInfo) -> bool:
    """Say whether images are known to show characters or signs: a published set of such, or classes of one letter each.

    Args:
        info: Facts of the dataset; of a pair, those of the target.
    """
    if info.modality != "image":
        return False
    named = bool(info.classes) and all(len(name) == 1 for name in info.classes)
    return named or info.origin.partition("/")[0] in _CHARACTERS
