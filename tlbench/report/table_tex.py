"""A table as TeX, for the package booktabs, whatever stands in a name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

from tlbench.report.table import Bold, Table, TablePart

_MARKS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"{\ttfamily\char34}", "[": "{[}", "]": "{]}", "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}", "‘": "`", "’": "'", "“": "``", "”": "''", "–": "--", "—": "---", "…": r"\ldots{}",
    "·": r"$\cdot$", "°": r"$^\circ$", "\N{WORD JOINER}": "{}",
    "\N{MINUS SIGN}": "$-$", "±": r"$\pm$", "×": r"$\times$", "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$",
    "≈": r"$\approx$", "∞": r"$\infty$", "→": r"$\to$", "←": r"$\leftarrow$", "↔": r"$\leftrightarrow$",
    "†": r"$^\dagger$", "µ": r"$\mu$", "λ": r"$\lambda$",
}  # fmt: skip
_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa mu nu xi pi rho sigma tau phi chi psi omega"
_LETTERS = {unicodedata.lookup(f"GREEK SMALL LETTER {name}"): rf"$\{name}$" for name in _GREEK.split()}
_PLAIN = re.compile(r"[ -~¡-ž]")  # what T1 fonts have, Latin letters with their accents, but for a few
_RARE = "ĦħĸĿŀŉŦŧ"
_OTHER = r"\providecommand{\otherscript}[2]{\ifdefined\Umathchar#1\else#2\fi}"


def tex(table: Table) -> str:
    r"""Return one ``tabular`` a part, to be read with ``\input``.

    pdfLaTeX has no letters of scripts other than Latin and Greek: it sets their code points, LuaLaTeX and XeLaTeX the
    letters themselves.
    """
    body = "\n".join(map(_tabular, table.parts)) or "% no results\n"
    needed = f"{_OTHER}\n" if r"\otherscript" in body else ""
    return f"% \\usepackage[T1]{{fontenc}}\\usepackage{{booktabs}}\n{needed}{body}"


def _tabular(part: TablePart) -> str:
    columns = "".join("l" if column in part.left else "r" for column in range(len(part.head)))
    told = "".join(f"% {' '.join(text.split())}\n" for text in (part.title, part.note) if text)
    lines = [r"\toprule", _row(part.head), r"\midrule", *map(_row, part.body), r"\bottomrule"]
    return f"{told}\\begin{{tabular}}{{{columns}}}\n" + "\n".join(lines) + "\n\\end{tabular}\n"


def _row(cells: Iterable[str]) -> str:
    told = [rf"\textbf{{{_typeset(cell)}}}" if isinstance(cell, Bold) else _typeset(cell) for cell in cells]
    return " & ".join(told) + r" \\"


def _typeset(cell: str) -> str:
    """Leave nothing in a name that TeX would take for a command, nor for an option of the row's end before it."""
    apart = re.sub("-(?=-)", "-\N{WORD JOINER}", unicodedata.normalize("NFC", " ".join(cell.split())))
    return "".join(map(_letter, apart))


@cache
def _letter(letter: str) -> str:
    known = _MARKS.get(letter) or _LETTERS.get(letter)
    if known is not None:
        return known
    if _PLAIN.fullmatch(letter) and letter not in _RARE:
        return letter
    code = f"U+{ord(letter):04X}"
    return rf"\otherscript{{{letter}}}{{{code}}}" if letter.isprintable() else code
