"""The Python installation's own docstrings: 3,200 texts of eleven packages, or all as a corpus; no download.

The task is to tell which package a docstring comes from. Docstrings of one file resemble each other, so the example
split is one of files: one of docstrings would score some twenty points too high. Files are the groups of the examples,
so validation is of other files, too. What names the package is masked, and no text stands on both sides. Other versions
of Python have other texts, hence other fingerprints.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from tlbench.core.config import Settings
from tlbench.core.hashing import derive_seed, digest
from tlbench.data.dataset import TEST, TRAIN
from tlbench.data.decoded import Decoded
from tlbench.data.docstring_texts import clean, comparison_key, distinct, make_mask, pack_passages, split_paragraphs
from tlbench.data.python_library import (
    OTHER,
    PACKAGES,
    TOPICS,
    Texts,
    label_of,
    library,
    packages_with_texts,
    read_texts,
    source_files,
)

VERSION = 2
_TEST_FRACTION, _ORDERS = 0.2, 32


class Params(Settings):
    """Which part of the documentation."""

    texts: Literal["packages", "all"] = Field(
        "packages",
        description="packages: docstrings of eleven packages, a task; all: every docstring and pydoc's topics in "
        "passages, a corpus for pre-training that holds out the same files",
    )


@dataclass(frozen=True)
class Row:
    """One text of the dataset."""

    text: str
    label: str
    part: int
    file: str


def signature(params: Params) -> Any:
    """Return the version of Python and a digest of the names and sizes of the files that are read."""
    root = library()
    names = source_files(root, everything=params.texts == "all")
    sizes = [[name, (root / name).stat().st_size] for name in names]
    return [platform.python_version(), digest(sizes, length=32)]


def decode(params: Params, folder: Path) -> Decoded:
    """Return the texts; files with about a fifth of each package's docstrings are for testing.

    Raises:
        UserError: Fewer than eight of the packages are here with their sources.
    """
    root = library()
    originals, unreadable = read_texts(root, source_files(root, everything=params.texts == "all"))
    mask = make_mask({name: of_file for name, of_file in originals.items() if label_of(name) in PACKAGES})
    texts = {name: distinct(clean(mask(text)) for text in of_file) for name, of_file in originals.items()}
    packages = packages_with_texts(root, texts)
    test_files = choose_test_files(texts, packages)
    if params.texts == "all":
        classes = (*packages, OTHER, TOPICS)
        rows = list(_rows(_passages(texts, test_files), test_files))
    else:
        classes = packages
        of_packages = {name: of_file for name, of_file in texts.items() if label_of(name) in packages}
        rows = list(_rows(of_packages, test_files))
    _, file = np.unique([row.file for row in rows], return_inverse=True)
    return Decoded(
        x=[row.text for row in rows],
        y=np.asarray([classes.index(row.label if row.label in classes else OTHER) for row in rows], np.int64),
        part=np.asarray([row.part for row in rows], np.uint8),
        classes=classes,
        warnings=_warnings(params, packages, unreadable),
        group=file.astype(np.int64),
    )


def choose_test_files(texts: Texts, packages: Iterable[str]) -> frozenset[str]:
    """Choose the files for testing: of each package some that hold a fifth of its texts, as nearly as files can.

    Of many orders of the files, which depend on their names only, each gives the files that bring the number of texts
    nearer to the fifth, one after the other; the choice that comes nearest is taken. A file that is most of its
    package is always trained on.

    Args:
        texts: All texts.
        packages: Packages of two files with texts or more.
    """
    chosen: set[str] = set()
    for package in packages:
        size = {name: len(of_file) for name, of_file in texts.items() if of_file and label_of(name) == package}
        fifth = _TEST_FRACTION * sum(size.values())
        choices = [_fill(size, fifth, order) for order in range(_ORDERS)]
        chosen.update(min(choices, key=lambda names: abs(sum(size[name] for name in names) - fifth)))
    return frozenset(chosen)


def _fill(size: dict[str, int], wanted: float, order: int) -> list[str]:
    """Return files, taken in a seeded order, that bring their total size near to what is wanted; at least one."""
    chosen: list[str] = []
    total = 0
    for name in sorted(size, key=lambda name: derive_seed("pydocs", order, name)):
        if abs(total + size[name] - wanted) < abs(total - wanted):
            chosen.append(name)
            total += size[name]
    return chosen or [min(size, key=lambda name: (size[name], name))]


def _rows(texts: Texts, test_files: frozenset[str]) -> Iterator[Row]:
    """Yield each text once, those for testing first: what is in a test file too is not trained on."""
    seen: set[str] = set()
    for name in sorted(texts, key=lambda name: (name not in test_files, name)):
        for text in texts[name]:
            if comparison_key(text) not in seen:
                seen.add(comparison_key(text))
                yield Row(text, label_of(name), TEST if name in test_files else TRAIN, name)


def _passages(texts: Texts, test_files: frozenset[str]) -> Texts:
    """Cut all texts into passages; a paragraph of a text for testing is left out of the others."""
    test_texts = [text for name in test_files for text in texts[name]]
    sealed = {comparison_key(piece) for text in test_texts for piece in (text, *split_paragraphs(text))}

    def cut(text: str, name: str) -> list[str]:
        paragraphs = split_paragraphs(text)
        return pack_passages(p for p in paragraphs if name in test_files or comparison_key(p) not in sealed)

    return {name: distinct(piece for text in of_file for piece in cut(text, name)) for name, of_file in texts.items()}


def _warnings(params: Params, packages: tuple[str, ...], unreadable: list[str]) -> tuple[str, ...]:
    python = f"Python {platform.python_version()}"
    warnings = [
        f"these are the texts of {python}; other versions have others, so compare only with results of the same "
        "fingerprint"
    ]
    missing = [package for package in PACKAGES if package not in packages]
    if missing:
        warnings.append(
            f"this {python} lacks {', '.join(missing)}: {len(packages)} packages instead of {len(PACKAGES)}"
        )
    if unreadable:
        warnings.append(f"{len(unreadable)} files that {python} cannot read are left out: {', '.join(unreadable[:5])}")
    if params.texts == "all":
        warnings.append(f"{OTHER} and {TOPICS} have no test examples: a corpus for pre-training, not a task")
    return tuple(warnings)
