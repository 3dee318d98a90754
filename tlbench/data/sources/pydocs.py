"""The Python installation's own docstrings: 3,200 texts of eleven packages, or all as a corpus; no download.

The task is to tell which package a docstring comes from. Docstrings of one file resemble each other, so the example
split is one of files: one of docstrings would score some twenty points too high. Files are the groups of the examples,
so validation is of other files, too. What names the package is masked, and no text stands on both sides. Other versions
of Python have other texts, hence other fingerprints.
"""

from __future__ import annotations

import platform
import re
import sys
import sysconfig
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from tlbench.core.config import Settings
from tlbench.core.errors import UserError
from tlbench.core.hashing import derive_seed, digest
from tlbench.data.dataset import TEST, TRAIN
from tlbench.data.decoded import Decoded
from tlbench.data.docstrings import assigned_texts, docstrings, sources

VERSION = 2
PACKAGES = (
    *("asyncio", "email", "encodings", "http", "idlelib", "importlib"),
    *("multiprocessing", "tkinter", "unittest", "urllib", "xml"),
)
OTHER, TOPICS = "other", "topics"
MASK = "[redacted]"
_TOPICS_FILE = "pydoc_data/topics.py"
_FEWEST_PACKAGES, _FEWEST_WORDS = 8, 3
_HELD_OUT, _ORDERS = 0.2, 32
_LONGEST = 400  # characters of a passage: about a hundred tokens

Texts = dict[str, list[str]]
"""Texts by file, as a path from the library's folder."""


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
    sizes = [[name, (root / name).stat().st_size] for name in _files(root, params)]
    return [platform.python_version(), digest(sizes, length=32)]


def decode(params: Params, folder: Path) -> Decoded:
    """Return the texts; files with about a fifth of each package's docstrings are for testing.

    Raises:
        UserError: Fewer than eight of the packages are here with their sources.
    """
    root = library()
    written, unreadable = _read(root, _files(root, params))
    mask = masking({name: found for name, found in written.items() if label_of(name) in PACKAGES})
    texts = {name: _distinct(clean(mask(text)) for text in found) for name, found in written.items()}
    packages = _present(root, texts)
    held = held_out(texts, packages)
    if params.texts == "all":
        classes = (*packages, OTHER, TOPICS)
        rows = list(_rows(_passages(texts, held), held))
    else:
        classes = packages
        rows = list(_rows({name: found for name, found in texts.items() if label_of(name) in packages}, held))
    _, file = np.unique([row.file for row in rows], return_inverse=True)
    return Decoded(
        x=[row.text for row in rows],
        y=np.asarray([classes.index(row.label if row.label in classes else OTHER) for row in rows], np.int64),
        part=np.asarray([row.part for row in rows], np.uint8),
        classes=classes,
        warnings=_warnings(params, packages, unreadable),
        group=file.astype(np.int64),
    )


def library() -> Path:
    """Return the folder of Python's own modules."""
    return Path(sysconfig.get_path("stdlib"))


def label_of(name: str) -> str:
    """Return the label of a file's texts: its package, ``other`` or ``topics``."""
    package = name.partition("/")[0]
    return TOPICS if name == _TOPICS_FILE else package if package in PACKAGES else OTHER


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return re.findall(r"\w+", text.lower())


def key(text: str) -> str:
    """Return what texts have in common that say the same: their words, whatever the case, spaces and punctuation."""
    return " ".join(words(text))


def masking(written: Texts) -> Callable[[str], str]:
    """Return a function that masks what names one of the packages, whatever the case.

    That is every word with a package's name in it, with all that dots join to its end; and those names of modules that
    docstrings of one package only speak of (``pyshell`` and ``cp1252``, but not ``parser``).

    Args:
        written: The docstrings of the packages.
    """
    modules = {part.lower() for name in written for part in name.removesuffix(".py").split("/")[1:]}
    speakers: dict[str, set[str]] = defaultdict(set)
    for name, texts in written.items():
        for word in modules.intersection(word for text in texts for word in words(text)):
            speakers[word].add(label_of(name))

    def masked(found: re.Match[str]) -> str:
        said: list[str] = []
        for word in found[0].split("."):
            low = word.lower()
            if any(package in low for package in PACKAGES):
                return ".".join([*said, MASK])
            said.append(MASK if len(speakers.get(low, ())) == 1 else word)
        return ".".join(said)

    return lambda text: re.sub(r"\w+(?:\.\w+)*", masked, text)


def clean(text: str) -> str:
    """Return a text without lines of mere punctuation (rules, underlines) and without what UTF-8 cannot say."""
    lines = (line for line in text.splitlines() if not line.strip() or words(line))
    return "\n".join(lines).strip().encode(errors="replace").decode()


def held_out(texts: Texts, packages: Iterable[str]) -> frozenset[str]:
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
        size = {name: len(found) for name, found in texts.items() if found and label_of(name) == package}
        fifth = _HELD_OUT * sum(size.values())
        draws = [_fill(size, fifth, order) for order in range(_ORDERS)]
        chosen.update(min(draws, key=lambda names: abs(sum(size[name] for name in names) - fifth)))
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


def passages(paragraphs: Iterable[str], longest: int = _LONGEST) -> list[str]:
    """Pack paragraphs into passages of at most ``longest`` characters; a longer paragraph is cut between words."""
    found: list[str] = []
    for paragraph in paragraphs:
        for piece in textwrap.wrap(" ".join(paragraph.split()), longest, break_on_hyphens=False):
            if found and len(found[-1]) + 1 + len(piece) <= longest:
                found[-1] += f"\n{piece}"
            else:
                found.append(piece)
    return found


def _files(root: Path, params: Params) -> list[str]:
    return sources(root, sys.stdlib_module_names if params.texts == "all" else PACKAGES)


def _read(root: Path, names: list[str]) -> tuple[Texts, list[str]]:
    """Return the texts of files, and the names of those files that cannot be read as Python."""
    texts: Texts = {}
    unreadable = []
    for name in names:
        file = root / name
        try:
            texts[name] = assigned_texts(file, "topics") if name == _TOPICS_FILE else docstrings(file)
        except (SyntaxError, ValueError, RecursionError, OSError):
            unreadable.append(name)
    return texts, unreadable


def _distinct(texts: Iterable[str]) -> list[str]:
    """Return the texts that have a few words besides masks, the first of those that say the same."""
    found: dict[str, str] = {}
    for text in texts:
        if len(words(text.replace(MASK, ""))) >= _FEWEST_WORDS:
            found.setdefault(key(text), text)
    return list(found.values())


def _present(root: Path, texts: Texts) -> tuple[str, ...]:
    files = [label_of(name) for name, found in texts.items() if found]
    present = tuple(package for package in PACKAGES if files.count(package) > 1)
    if len(present) < _FEWEST_PACKAGES:
        missing = ", ".join(package for package in PACKAGES if package not in present)
        raise UserError(
            f"{root}: the sources of only {len(present)} of {len(PACKAGES)} packages are here, missing: {missing}",
            "use a Python that is installed with its whole library",
        )
    return present


def _rows(texts: Texts, held: frozenset[str]) -> Iterator[Row]:
    """Yield each text once, those for testing first: what stands on both sides is not trained on."""
    seen: set[str] = set()
    for name in sorted(texts, key=lambda name: (name not in held, name)):
        for text in texts[name]:
            if key(text) not in seen:
                seen.add(key(text))
                yield Row(text, label_of(name), TEST if name in held else TRAIN, name)


def _passages(texts: Texts, held: frozenset[str]) -> Texts:
    """Cut all texts into passages; a paragraph that stands in a text for testing is left out of the others."""
    tested = [text for name in held for text in texts[name]]
    sealed = {key(piece) for text in tested for piece in (text, *_paragraphs(text))}

    def cut(text: str, name: str) -> list[str]:
        return passages(p for p in _paragraphs(text) if name in held or key(p) not in sealed)

    return {name: _distinct(piece for text in found for piece in cut(text, name)) for name, found in texts.items()}


def _paragraphs(text: str) -> list[str]:
    return re.split(r"\n\s*\n", text)


def _warnings(params: Params, packages: tuple[str, ...], unreadable: list[str]) -> tuple[str, ...]:
    python = f"Python {platform.python_version()}"
    told = [
        f"these are the texts of {python}; other versions have others, so compare only with results of the same "
        "fingerprint"
    ]
    missing = [package for package in PACKAGES if package not in packages]
    if missing:
        told.append(f"this {python} lacks {', '.join(missing)}: {len(packages)} packages instead of {len(PACKAGES)}")
    if unreadable:
        told.append(f"{len(unreadable)} files that {python} cannot read are left out: {', '.join(unreadable[:5])}")
    if params.texts == "all":
        told.append(f"{OTHER} and {TOPICS} have no test examples: a corpus for pre-training, not a task")
    return tuple(told)
