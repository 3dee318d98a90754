"""Writes the reference pages from what the code itself declares: methods, protocols, commands, columns.

Nothing on these pages is copied by hand; the only text that is added is when to use a method (``when_to_use.toml``),
and a method without it stops the build.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import typer

from tlbench.api.columns import LEADERBOARD_COLUMNS, RESULT_COLUMNS, Column
from tlbench.backbones import catalog as backbones
from tlbench.cli.app import app
from tlbench.core.config import Settings
from tlbench.data import catalog as data
from tlbench.plugins import registry
from tlbench.plugins.metrics import metric_declaration, metric_names

HERE = Path(__file__).parent
FAMILIES = {
    "On frozen features": ("linear_probe", "linear_head", "knn", "nearest_centroid", "logistic_support"),
    "The whole network": (
        "finetune", "gradual_unfreezing", "discriminative_lr", "lp_ft", "l2_sp", "wise_ft", "setfit",
    ),
    "Few parameters": ("lora", "adapter", "ssf", "bitfit"),
    "From random weights, or from a teacher": ("from_scratch", "distillation"),
    "Without a network": ("tfidf",),
    "Learning without labels first, and pre-training": ("simclr", "mlm", "supervised"),
    "Few-shot learning in episodes": ("protonet", "maml", "anil", "meta_baseline", "baseline_pp"),
    "A shift of domains": (
        "source_only", "dann", "cdan", "mmd", "coral", "adabn", "mcc", "shot", "target_oracle",
    ),
}  # fmt: skip
"""Methods of the package by what they do; others, of other distributions, come last."""


def write(folder: Path) -> None:
    """Write all pages into a folder.

    Raises:
        ValueError: A method has no text that says when to use it.
    """
    folder.mkdir(exist_ok=True)
    for name, text in {
        "methods": methods_page(),
        "protocols": protocols_page(),
        "commands": commands_page(),
        "columns": columns_page(),
        "names": names_page(),
    }.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # an unchanged page is not built again
            path.write_text(text, encoding="utf-8")


def methods_page() -> str:
    """Return the page of all methods."""
    when = tomllib.loads((HERE / "when_to_use.toml").read_text(encoding="utf-8"))
    names = registry.names("methods")
    own = [name for name in names if registry.declaration("methods", name).module.startswith("tlbench.methods.")]
    missing = sorted(set(own) - when.keys()) + sorted(set(own) - {name for row in FAMILIES.values() for name in row})
    if missing:
        raise ValueError(f"docs/when_to_use.toml and docs/reference.py say nothing of {', '.join(missing)}")
    lines = [
        "# Methods",
        "",
        "Each method is one file of `tlbench/methods`; this page is made from what these files declare. *Searched* says"
        " from what a search draws a parameter unless the suite gives it another range.",
    ]
    families = FAMILIES | {"Of other distributions": tuple(sorted(set(names) - set(own)))}
    for family, members in families.items():
        if members:
            lines += ["", f"## {family}"]
            for name in members:
                lines += ["", *_method(name, when.get(name, ""))]
    return "\n".join(lines) + "\n"


def _method(name: str, when: str) -> Iterable[str]:
    declared = registry.declaration("methods", name)
    document = _docstring(declared.path).strip()
    summary, _, rest = document.partition("\n\n")
    protocols = ", ".join(f"`{each}`" for each in declared.protocols) or "none: it only pre-trains"
    roles = " It also pre-trains backbones." if declared.roles == ("fit", "pretrain") else ""
    paper = declared.paper.removeprefix("arXiv:").strip(" :.;,")
    yield f"### {name}"
    yield ""
    yield " ".join(summary.split())
    yield ""
    if when:
        yield f"**When to use it.** {' '.join(when.split())}"
        yield ""
    yield f"**Protocols:** {protocols}.{roles} **Reads:** {', '.join(declared.modalities)}."
    if paper:
        yield f"**Paper:** [arXiv:{paper}](https://arxiv.org/abs/{paper})."
    if rest:
        yield ""
        yield _as_markdown(rest)
    yield ""
    yield from _parameters(declared.settings, "parameter")


def protocols_page() -> str:
    """Return the page of the protocols and their options."""
    lines = ["# Protocols", "", "A grid names one protocol; its options stand beside the grid's other keys."]
    for name in registry.names("protocols"):
        declared = registry.declaration("protocols", name)
        summary, _, rest = _docstring(declared.path).strip().partition("\n\n")
        lines += ["", f"## {name}", "", " ".join(summary.split()), ""]
        lines += [_as_markdown(rest), ""] if rest else []
        lines += _parameters(declared.settings, "option")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Return the page of all commands with their arguments and options, as ``--help`` tells them."""
    group: Any = typer.main.get_command(app)
    lines = ["# Commands", "", "Every command has `--help`. Results go to standard output, all else to standard error."]
    lines += [
        "Exit codes: 0 is success; 1 means that something asked for is missing (failed cells, inputs passed over, a"
        " check that did not pass); 2 is a mistake in what was given; 130 is a stop at once by Ctrl-C."
    ]
    for name, command in group.commands.items():
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
        usage = " ".join(["tlbench", name, *(_metavar(each) for each in arguments)])
        lines += ["", f"## {name}", "", " ".join((command.help or "").split()), "", f"    {usage}", ""]
        rows = [(f"`{_metavar(each)}`", each.help or "", _default(each)) for each in arguments]
        rows += [(f"`{_switch(each)}`", each.help or "", _default(each)) for each in options if each.name != "help"]
        lines += _table(("", "what it is", "default"), rows)
    return "\n".join(lines) + "\n"


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name).upper()


def _switch(parameter: Any) -> str:
    value = "" if parameter.is_flag else f" {_metavar(parameter)}"
    return f"{max(parameter.opts, key=len)}{value}"


def _default(parameter: Any) -> str:
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if parameter.required:
        return "required"
    value = parameter.default
    return "" if value in (None, False, "") or callable(value) else f"`{value}`"


def columns_page() -> str:
    """Return the page of the columns of data frames."""
    lines = ["# Columns of data frames"]
    lines += ["", "## tlbench.results", "", "One row a finished cell.", "", *_columns(RESULT_COLUMNS)]
    lines += ["", "Further scores of a protocol follow as `test_NAME` and `validation_NAME`, of type `float64`."]
    lines += ["", "## tlbench.leaderboard", "", "One row a method on a backbone.", "", *_columns(LEADERBOARD_COLUMNS)]
    return "\n".join(lines) + "\n"


def names_page() -> str:
    """Return the page of the datasets, architectures and metrics that suites may name."""
    lines = ["# Datasets, backbones and metrics by name", ""]
    lines += ["`tlbench list datasets`, `tlbench list backbones` and `tlbench list metrics` print the same."]
    metrics = {name: metric_declaration(name).summary for name in metric_names()}
    for title, found in (("Datasets", data.summaries()), ("Backbones", backbones.summaries()), ("Metrics", metrics)):
        lines += ["", f"## {title}", "", *_table(("name", "what it is"), [(f"`{k}`", v) for k, v in found.items()])]
    return "\n".join(lines) + "\n"


def _columns(columns: Iterable[Column]) -> list[str]:
    return _table(("column", "type", "what it holds"), [(f"`{c.name}`", f"`{c.dtype}`", c.about) for c in columns])


def _parameters(settings: type[Settings], word: str) -> list[str]:
    if not settings.model_fields:
        return [f"It has no {word}s."]
    rows = []
    for name, field in settings.model_fields.items():
        default = "required" if field.is_required() else f"`{_yaml(field.get_default(call_default_factory=True))}`"
        rows.append((f"`{name}`", default, _space(field.json_schema_extra), field.description or _choices(field)))
    return _table((word, "default", "searched", "what it is"), rows)


def _choices(field: Any) -> str:
    values = [each for each in get_args(field.annotation) if isinstance(each, str)]
    return f"one of {', '.join(values)}" if values else ""


def _space(extra: Any) -> str:
    space = extra.get("space") if isinstance(extra, dict) else None
    if not isinstance(space, dict):
        return ""
    said = (
        ", ".join(map(_yaml, space["values"]))
        if space["distribution"] == "choice"
        else f"{space['low']:g} to {space['high']:g}" + (" (log)" if space["distribution"] == "log_uniform" else "")
    )
    when = extra.get("when") or {}
    where = " and ".join(f"{name} is {' or '.join(map(_yaml, values))}" for name, values in when.items())
    return f"{said}, where {where}" if where else said


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [[" ".join(str(cell).split()).replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells)]


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _as_markdown(text: str) -> str:
    """Return a docstring's paragraphs as Markdown: double backticks are single ones there."""
    roles = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    return roles.replace("``", "`")
