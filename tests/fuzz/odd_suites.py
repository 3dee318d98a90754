"""Suites with one to four mistakes: in their values, or in their text."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

_SUITES: list[dict[str, Any]] = [
    {
        "name": "plain",
        "baseline": "knn",
        "grids": [
            {
                "protocol": "classification",
                "methods": ["knn", {"name": "linear_probe", "params": {"C": 0.1}}],
                "backbones": [{"name": "conv4", "width": 8}],
                "datasets": ["digits", {"name": "folder", "path": "pictures"}],
                "shots": [1, 2, "full"],
                "seeds": 2,
            }
        ],
    },
    {
        "name": "searched",
        "grids": [
            {
                "protocol": "classification",
                "methods": ["linear_probe", {"name": "finetune", "params": {"epochs": 2}}],
                "backbones": ["conv4"],
                "datasets": ["digits"],
                "shots": [5],
                "seeds": [0, 3],
            }
        ],
        "search": {"trials": 4, "scheduler": "asha", "searcher": "random"},
        "resources": {"cpus": 1, "workers": 1},
        "limits": {"cpu_hours": 2, "cell_minutes": 0.5},
    },
    {
        "name": "taught",
        "baseline": "finetune",
        "pretrain_seeds": 2,
        "grids": [
            {
                "protocol": "classification",
                "methods": [
                    "finetune",
                    {"name": "distillation", "teacher": {"backbone": "resnet18", "method": "finetune"}},
                ],
                "backbones": [
                    {"name": "conv4", "pretrain": {"method": "supervised", "dataset": "digits",
                    "params": {"epochs": 1}}},
                    {"name": "resnet18", "weights": {"torchvision": "IMAGENET1K_V1"}},
                ],
                "datasets": ["digits"],
                "shots": [5],
            }
        ],
    },
    {
        "name": "episodes",
        "grids": [
            {
                "protocol": "episodic",
                "methods": ["nearest_centroid", {"name": "protonet", "params": {"episodes": 4, "ways": 2}}],
                "backbones": [{"name": "conv4", "width": 8, "weights": "random"}],
                "datasets": ["digits"],
                "ways": 2,
                "shots": [1],
                "episodes": 10,
            },
            {
                "protocol": "adaptation",
                "methods": ["source_only", {"name": "dann", "params": {"steps": 3}}],
                "backbones": [{"name": "conv4", "width": 8, "image_size": 16}],
                "datasets": [{"name": "pair", "source": "digits", "target": {"name": "folder", "path": "pictures"}}],
                "shots": [0],
            },
        ],
    },
    {
        "name": "words",
        "grids": [
            {
                "protocol": "classification",
                "methods": ["finetune", "bitfit"],
                "backbones": [{"name": "text_tiny", "pretrain": {"method": "mlm", "dataset": {"name": "texts",
                "path": "texts.csv"}}}],
                "datasets": [{"name": "texts", "path": "texts.csv", "delimiter": ","}],
                "shots": [1],
            }
        ],
    },
]  # fmt: skip
PLAIN = json.dumps(_SUITES[0], indent=1)
CHEAP = {"digits", "folder", "texts", "pair"}
"""Datasets that are opened at once; others that a suite may name are drawn or downloaded."""
_NUMBERS = [0, -1, 1, 3, 2**31, 2**63 - 1, -(2**63), 10**30, 0.5, -0.0, 1e308, 1e-320]
_TEXTS = [
    "", " ", "x" * 5000, "a b", "e\u0301", "\u00e9", "🦉", "\u202e", "a\tb", "a\nb", "'", '"', "[bold]", "%s", "{x}",
    "$HOME", "$NOT_SET_ANYWHERE", "~nobody123/x", "~", "..", "/", "/dev/null", "null", "full", "all", "random", "none",
    "digits", "folder", "texts", "pair", "conv4", "resnet18", "knn", "finetune", "mlm", "finetune(lr=0.1)", "A -> B",
    "timm:nothing", "timm:", "hf:", "torchvision", "\x7f", "\ufeff", "\ufffd",
]  # fmt: skip
_KEYS = [
    "name", "params", "path", "weights", "pretrain", "method", "dataset", "pairs", "source", "target", "after", "seed",
    "methods", "teacher", "shots", "seeds", "search", "limits", "resources", "layout", "ways", "Name", "nmae", "", " ",
    "width", "image_size", "<<", "e\u0301", "__class__", "model_config", "options", "key", "trials", "[0]",
]  # fmt: skip
_DEEP: Any = [[[[[[[[[[{"name": [[[[{"x": None}]]]]}]]]]]]]]]]
_VALUES = st.one_of(
    st.sampled_from(_NUMBERS),
    st.sampled_from(_TEXTS),
    st.sampled_from([None, True, False, [], {}, [[]], [None], {"": None}, {"name": {}}, {"name": None}, _DEEP, [[1,
    2]]]),
    st.text(max_size=5),
    st.integers(-5, 40),
)  # fmt: skip
_SNIPPETS = [
    "\t", "\n", " ", ":", "- ", "? ", "&a ", "*a", "*b", "&a *a", "!!int ", "!!python/object:x ", "<<: *a", "---\n",
    "...\n",
    "%YAML 1.1\n", "#", "'", '"', "[", "]", "{", "}", ",", "|", ">", "|\n", "@", "`", "\x00", "\x01", "\x85",
    "\u2028", "\ufeff",
    "\r", "\r\n", ".nan", "-.inf", "1e999", "9" * 400, "0x", "0o8", "~", "null", "!", "[" * 60, "{a: " * 60, "é", "🦉",
    '"\\ud800"', '"\\x"', "name: name\n", "name:", "\n  ", "\n\t", "&" + "a" * 2000 + " ",
]  # fmt: skip
_BYTES = [b"", b"\xff", b"\xfe\xff", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x00" * 3, b"\xe9"]


@st.composite
def suite_files(draw: DrawFn) -> bytes:
    """Return the bytes of a suite file that may hold mistakes."""
    value = copy.deepcopy(draw(st.sampled_from(_SUITES)))
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 1, 2, 4]))):
        value = _changed(draw, value)
    text = json.dumps(value, indent=draw(st.sampled_from([None, 1])), ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()):
        text = _as_block(value)
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 0, 1, 2]))):
        text = _garbled(draw, text)
    content = text.encode("utf-8", "surrogatepass")
    for _ in range(draw(st.sampled_from([0] * 12 + [1]))):
        place = draw(st.integers(0, len(content)))
        content = content[:place] + draw(st.sampled_from(_BYTES)) + content[place:]
    if draw(st.integers(0, 30)) == 30:
        return draw(st.sampled_from([b"", b"\n", b"# nothing\n", content.decode("utf-8", "replace").encode("utf-16")]))
    return content


def _places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, item in items for place in _places(item, (*here, key)))]


def _changed(draw: DrawFn, value: Any) -> Any:
    """Return a value with one part of it replaced, left out, renamed, doubled, wrapped or added."""
    place = draw(st.sampled_from(_places(value)))
    if not place:
        return value if draw(st.integers(0, 9)) < 9 else copy.deepcopy(draw(_VALUES))
    *above, last = place
    parent = value
    for step in above:
        parent = parent[step]
    how = draw(st.sampled_from(["replace", "replace", "remove", "rename", "double", "wrap", "add", "swap"]))
    if how == "replace":
        parent[last] = copy.deepcopy(draw(_VALUES))
    elif how == "remove":
        del parent[last]
    elif how == "wrap":
        parent[last] = draw(st.sampled_from([[parent[last]], {"name": parent[last]},
            {draw(st.sampled_from(_KEYS)): parent[last]}]))  # fmt: skip
    elif how == "swap":
        other = draw(st.sampled_from(_places(value)))
        found = value
        for step in other:
            found = found[step]
        parent[last] = copy.deepcopy(found)
    elif isinstance(parent, list):
        parent.append(copy.deepcopy(parent[last] if how == "double" else draw(_VALUES)))
    elif how == "rename":
        parent[draw(st.sampled_from([*_KEYS, str(last).upper(), str(last)[:-1]]))] = parent.pop(last)
    else:
        parent[draw(st.sampled_from(_KEYS))] = copy.deepcopy(draw(_VALUES))
    return value


def _garbled(draw: DrawFn, text: str) -> str:
    """Return a text with something put in, cut out, doubled or exchanged."""
    place = draw(st.integers(0, len(text)))
    how = draw(st.sampled_from(["insert", "insert", "cut", "end", "line", "word", "newlines"]))
    if how == "cut":
        return text[:place] + text[place + draw(st.integers(1, 20)) :]
    if how == "end":
        return text[:place]
    if how == "newlines":
        return text.replace("\n", draw(st.sampled_from(["\r\n", "\r", "\n\n", "\n\t"])))
    if how == "line":
        lines = text.split("\n")
        number = draw(st.integers(0, len(lines) - 1))
        return "\n".join(lines[: number + 1] + lines[number:])
    if how == "word":
        words = text.split(" ")
        words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(_SNIPPETS))
        return " ".join(words)
    return text[:place] + draw(st.sampled_from(_SNIPPETS)) + text[place:]


def _as_block(value: Any, indent: str = "") -> str:
    """Return YAML in block style; texts and keys in quotes only where they must be."""
    if isinstance(value, dict) and value:
        return "".join(f"{indent}{_plain(key)}:{_below(item, indent)}" for key, item in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{indent}-{_below(item, indent)}" for item in value)
    return f"{indent}{_plain(value)}\n"


def _below(value: Any, indent: str) -> str:
    if isinstance(value, (dict, list)) and value:
        return "\n" + _as_block(value, indent + "  ")
    return f" {_plain(value)}\n"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) and value.isidentifier() else json.dumps(value, ensure_ascii=False)
