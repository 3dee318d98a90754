"""Prepares docstrings as a task: masks what names the answer, removes repetitions, cuts long texts into passages."""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable

from tlbench.data.python_library import PACKAGES, Texts, label_of

MASK = "[redacted]"
_FEWEST_WORDS = 3
_LONGEST = 400  # characters of a passage: about a hundred tokens


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return re.findall(r"\w+", text.lower())


def comparison_key(text: str) -> str:
    """Return the words of a text without case, spaces and punctuation; texts with one key say the same."""
    return " ".join(words(text))


def make_mask(docstrings: Texts) -> Callable[[str], str]:
    """Return a function that masks what names one of the packages, whatever the case.

    That is every word with a package's name in it, with all that dots join to its end; and names of modules that occur
    in the docstrings of one package only (``pyshell`` and ``cp1252``, but not ``parser``).

    Args:
        docstrings: Those of the packages.
    """
    modules = {part.lower() for name in docstrings for part in name.removesuffix(".py").split("/")[1:]}
    packages_using: dict[str, set[str]] = defaultdict(set)
    for name, texts in docstrings.items():
        for word in modules.intersection(word for text in texts for word in words(text)):
            packages_using[word].add(label_of(name))

    def masked(dotted: re.Match[str]) -> str:
        kept: list[str] = []
        for word in dotted[0].split("."):
            low = word.lower()
            if any(package in low for package in PACKAGES):
                return ".".join([*kept, MASK])
            kept.append(MASK if len(packages_using.get(low, ())) == 1 else word)
        return ".".join(kept)

    return lambda text: re.sub(r"\w+(?:\.\w+)*", masked, text)


def clean(text: str) -> str:
    """Return a text without lines of mere punctuation (rules, underlines) and without what UTF-8 cannot encode."""
    lines = (line for line in text.splitlines() if not line.strip() or words(line))
    return "\n".join(lines).strip().encode(errors="replace").decode()


def pack_passages(paragraphs: Iterable[str], longest: int = _LONGEST) -> list[str]:
    """Pack paragraphs into passages of at most ``longest`` characters; a longer paragraph is cut between words."""
    passages: list[str] = []
    for paragraph in paragraphs:
        for piece in textwrap.wrap(" ".join(paragraph.split()), longest, break_on_hyphens=False):
            if passages and len(passages[-1]) + 1 + len(piece) <= longest:
                passages[-1] += f"\n{piece}"
            else:
                passages.append(piece)
    return passages


def split_paragraphs(text: str) -> list[str]:
    """Return the parts of a text between blank lines."""
    return re.split(r"\n\s*\n", text)


def distinct(texts: Iterable[str]) -> list[str]:
    """Return the texts that have a few words besides masks, the first of those that say the same."""
    kept: dict[str, str] = {}
    for text in texts:
        if len(words(text.replace(MASK, ""))) >= _FEWEST_WORDS:
            kept.setdefault(comparison_key(text), text)
    return list(kept.values())
