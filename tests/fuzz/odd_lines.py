"""Selectors and command lines, as they are mistyped, pasted and built by scripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

_FIELDS = [
    "method",
    "label",
    "backbone",
    "dataset",
    "protocol",
    "weights",
    "id",
    "shots",
    "seed",
    "metod",
    "",
    "Method",
    "shot",
    "k",
    "\u00e9",
]
_OPERATORS = ["=", "=", "=", "!=", "<", "<=", ">", ">=", "==", "=>", "<>", "!", " = ", ":", "~"]
_VALUES = [
    "knn", "k*", "?nn", "lora(rank=4*", '"knn"', "'knn'", '"', "'", "5", "full", "-1", "1.5", "9" * 30, "²", "٣",
    "1,2", ",", "1,,2", "", "*",
    "[a-z]*", "[", "[!", "digits", "a b", '"a b"', "conv4", "x" * 2000, "\u00e9", "\t", "\x00", "\udcff", "🦉",
    "1e3", "0x1", "None", "\\", "0", "1",
]  # fmt: skip
_WORDS = [
    "failed",
    "stale",
    "and",
    "or",
    "not",
    "(",
    ")",
    "knn",
    "--only",
    "#",
    "failed,stale",
    "Failed",
    "fialed",
    "method",
]
_GOOD = st.sampled_from([
    "method=knn", "method!=maml", "method=k*,l*", "shots<=5", "shots>0", "shots=full,5", "seed=0,1,2", "seed!=9",
    "dataset=digits", "dataset=d*",
    'label="knn(k=5)"', "backbone=conv4*", "protocol=classification", "weights=*", "id=*", "label='a b',c",
    "failed", "stale",
])  # fmt: skip
SELECTORS = st.lists(
    st.one_of(
        _GOOD,
        _GOOD,
        _GOOD,
        _GOOD,
        st.tuples(st.sampled_from(_FIELDS), st.sampled_from(_OPERATORS), st.sampled_from(_VALUES)).map("".join),
        st.sampled_from(_WORDS),
        st.text("=<>!\"' ,methodsh*?[]\t\n\u00e9", max_size=8),
    ),
    max_size=4,
).map(" ".join)
"""Texts where a selector belongs."""

PATHS = st.sampled_from([
    "", " ", ".", "..", "/", "~", "~/x", "~nobody123/x", "~/", "$HOME/x", "$NOT_SET_ANYWHERE/x", "${HOME}/y",
    "${HOME", "$", "$(ls)", "%HOME%",
    "x" * 300, "/".join(["d" * 100] * 50), "loop", "loop/x", "gone", "pipe", "plain.yaml/x", "plain.yaml",
    "some folder", "pictures/cat/0.png",
    "texts.csv", "/dev/null", "/dev/zero", "/proc/self/mem", "a b", "a\nb", "a\tb", "\udcff.yaml", "caf\u00e9.yaml",
    "e\u0301.yaml", "🦉", "-", "--",
    "-x", "[red]", "*.yaml", "plain.yml", "Plain.yaml", "./plain.yaml", "plain.yaml/", "http://x/plain.yaml",
    "file:///x", "latin.yaml", "empty.yaml",
    "locked", "plain.YAML", "con", "x:y", "a;b", "a|b", "sqlite:///x.db", "not-a-folder.zip", "texts.csv/..",
    "no/such/folder/s.yaml",
])  # fmt: skip
"""Texts where a path belongs; some of them lie in the folder that commands run in."""

_URIS = st.sampled_from([
    "", " ", "results", "sqlite://", "sqlite:///", "sqlite:///x.db", "sqlite:////no/such/x.db",
    "sqlite:///some folder", "sqlite:///texts.csv", "file:x",
    "sqlite:///x.db?mode=ro", "sqlite:///%zz", "sqlite:///~nobody123/x.db", "sqlite:///" + "x" * 300, "ftp://x",
    "http://", "http://127.0.0.1:1",
    "http://[::1", "http://127.0.0.1:99999", "https://user:pw@127.0.0.1:1/x", "postgresql://",
    "postgresql://127.0.0.1:1/x", "postgresql://u:p@/",
    "mysql://x", "://", "a\nb", "x" * 3000, "databricks", "uc:x", "sqlite:///\udcff.db", "sqlite:///a b.db",
    "SQLITE:///x.db", "http://127.0.0.1:1/\u00e9",
])  # fmt: skip
_NUMBERS = st.sampled_from(["", "0", "-1", "5000", "99999", "1.5", "http", "9" * 40, "٣", "0x10", " 1"])
_NAMES = st.sampled_from(
    [
        "plain",
        "",
        " ",
        "x",
        "no such",
        "../x",
        "plain.yaml",
        "a/b",
        "x" * 400,
        "é",
        "\udcff",
        "%",
        "'",
        "methods",
        "suites",
        "backbone",
    ]
)
_ADDRESSES = st.sampled_from(["", " ", "127.0.0.1:1", "127.0.0.1:99999", "ray://127.0.0.1:1", "ray://", ":",
    "::1:1", "[::1]:1", "127.0.0.1:", "x" * 300 + ":1", "\udcff:1", "127.0.0.1:-1", "ray://\u00e9:1",
    "http://127.0.0.1:1"])  # fmt: skip
_TAGS = st.sampled_from(["", "v1", "../v1", "a b", "-x", ".", "x" * 300, "é", "\udcff", "v1/", "con"])
_IDS = st.sampled_from(["", "abc", "*", "%", "_", "ABCDEF", "x" * 4000, "'; drop table", "é", "\udcff", "0", "\n"])

_SUITE = st.one_of(st.just("plain.yaml"), st.just("plain.yaml"), PATHS)
_OPTIONS: dict[str, Any] = {
    "--workspace": PATHS,
    "--reports": PATHS,
    "--tracking-uri": _URIS,
    "--only": SELECTORS,
    "--skip": SELECTORS,
    "--force": SELECTORS,
    "--address": _ADDRESSES,
    "--freeze": _TAGS,
    "--suite": _NAMES,
    "--port": _NUMBERS,
}
_FLAGS = {"--json", "--cells", "--retry-failed", "--help", "--version", "--jsno", "-x", "--"}
_COMMANDS: dict[str, tuple[list[Any], list[str]]] = {
    "list": ([_NAMES], ["--json"]),
    "schema": ([], []),
    "check": ([_SUITE], ["--workspace"]),
    "plan": ([_SUITE], ["--workspace", "--json"]),
    "status": ([_SUITE], ["--workspace", "--cells"]),
    "cell": ([_IDS], ["--workspace", "--json"]),
    "run": ([_SUITE], ["--only", "--skip", "--force", "--retry-failed", "--address", "--workspace",
    "--tracking-uri", "--reports"]),
    "tune": ([_SUITE], ["--only", "--address", "--workspace", "--tracking-uri", "--json"]),
    "audit": ([_SUITE], ["--only", "--workspace", "--json"]),
    "sync": ([_SUITE], ["--workspace", "--tracking-uri"]),
    "report": ([st.one_of(_NAMES, _SUITE)], ["--freeze", "--workspace", "--tracking-uri", "--reports"]),
    "compare": ([SELECTORS, SELECTORS], ["--suite", "--workspace", "--tracking-uri", "--reports", "--json"]),
    "ui": ([], ["--workspace", "--tracking-uri", "--port"]),
    "rnu": ([_SUITE], []),
}  # fmt: skip
_VARIABLES: dict[str, Any] = {
    "TLBENCH_WORKSPACE": PATHS,
    "TLBENCH_HOME": PATHS,
    "TLBENCH_ARTIFACTS": PATHS,
    "TLBENCH_DATA": PATHS,
    "MLFLOW_TRACKING_URI": _URIS,
    "COLUMNS": _NUMBERS,
    "LINES": _NUMBERS,
    "HOME": PATHS,
    "TMPDIR": PATHS,
    "HF_HOME": PATHS,
    "OMP_NUM_THREADS": _NUMBERS,
    "TERM": st.sampled_from(["", "dumb", "xterm", "x" * 300]),
    "NO_COLOR": st.sampled_from(["", "1"]),
    "FORCE_COLOR": st.sampled_from(["", "1", "x"]),
    "LC_ALL": st.sampled_from(["", "C", "xx_XX"]),
}


@dataclass(frozen=True)
class Line:
    """The arguments of a command line, and variables of its environment."""

    arguments: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]


@st.composite
def lines(draw: DrawFn) -> Line:
    """Return a command line with up to three options and up to one variable that may be wrong."""
    command = draw(st.sampled_from(sorted(_COMMANDS)))
    arguments, options = _COMMANDS[command]
    said = [command, *(draw(each) for each in arguments)]
    for option in draw(st.lists(st.sampled_from([*options, *(["--jsno"] if not options else [])]), max_size=3)):
        said.append(option)
        if option not in _FLAGS:
            said.append(draw(_OPTIONS[option]))
    if draw(st.integers(0, 12)) == 12:
        said.insert(draw(st.integers(0, len(said))), draw(st.sampled_from(sorted(_FLAGS))))
    if draw(st.integers(0, 12)) == 12:
        said = said[: draw(st.integers(0, len(said)))]
    variables = draw(
        st.lists(st.sampled_from(sorted(_VARIABLES)), max_size=draw(st.sampled_from([0, 0, 1, 2])), unique=True)
    )
    return Line(tuple(said), tuple((name, draw(_VARIABLES[name])) for name in variables))
