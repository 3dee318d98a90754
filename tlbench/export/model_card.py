"""The model card of an exported model: what it is for, how good it is, and where all of it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tlbench.core.description import shots_label
from tlbench.core.record import Record
from tlbench.inference.description import Description
from tlbench.plugins.metrics import METRIC, USUAL
from tlbench.stats.intervals import mean_interval

_SCORES = ("accuracy", "macro_f1", "nll", "ece")
_SHOWN = 40  # classes that are named


def model_card(description: Description, record: Record, others: Sequence[Record]) -> str:
    """Return the text of the card.

    Args:
        description: The model.
        record: The result of its cell.
        others: Results of the same setting with other seeds.
    """
    cell, facts = record.cell, description.provenance
    title = f"{cell.method} of {cell.backbone_label} on {cell.dataset}"
    parts = [
        f"# {title}",
        f"A classifier of {description.modality}s into {len(description.classes)} classes, trained and written by "
        f"tlbench {description.tlbench}.",
        _use(description),
        "## Classes",
        _classes(description.classes),
        "## Scores",
        _scores(record, others, facts),
        "## How it was made",
        _table(_made(record, description)),
        "## Confidence",
        _confidence(description),
        "## Licences",
        _table(
            [("weights of the backbone", facts["weights_licence"]), ("data", facts["data_licence"])],
        ),
        "## Files",
        _table([(f"`{name}`", text) for name, text in description.files.items()]),
    ]
    return "\n\n".join(parts) + "\n"


def _use(description: Description) -> str:
    example = "photos/" if description.modality == "image" else "texts.csv"
    return (
        f"```\ntlbench predict DIR {example} --to answers.csv\n```\n\n```python\nimport tlbench\n\n"
        f'model = tlbench.load("DIR")\nmodel.predict("{example}").to_frame()\n```'
    )


def _classes(classes: Sequence[str]) -> str:
    more = f", ... ({len(classes)} in all, see `tlbench.json`)" if len(classes) > _SHOWN else ""
    return ", ".join(classes[:_SHOWN]) + more


def _scores(record: Record, others: Sequence[Record], facts: dict[str, Any]) -> str:
    assert record.outcome is not None
    lines = []
    if facts["fitted_to"] == "all labels":
        lines.append(
            "This model was fitted to all labels there are, those of the test split included, so that nothing is left "
            "to score it on. The scores are those of the same method fitted to the cell's labels."
        )
    outcomes = [each.outcome for each in (record, *others) if each.outcome is not None]
    rows = []
    for name in dict.fromkeys((str(record.cell.options.get(METRIC, USUAL)), *_SCORES)):
        values = [each.scores[name] for each in outcomes if name in each.scores]
        if name in record.outcome.scores:
            rows.append((name, f"{record.outcome.scores[name]:.4f}{_interval(values)}"))
    lines += [f"On the {record.outcome.tests} examples of the test split, seed {record.cell.seed}:", _table(rows)]
    if len(outcomes) == 1:
        lines.append("One seed only: there is no interval over seeds.")
    return "\n\n".join(lines)


def _interval(values: Sequence[float]) -> str:
    """Return the mean over seeds with its interval in words; nothing for one seed."""
    estimate = mean_interval(values)
    if estimate.low is None or estimate.high is None:
        return ""
    ends = f"95% from {estimate.low:.4f} to {estimate.high:.4f}"
    return f" (mean of {estimate.n} seeds {estimate.mean:.4f}, {ends})"


def _made(record: Record, description: Description) -> list[tuple[str, str]]:
    cell, facts = record.cell, description.provenance
    rows = [
        ("method", cell.method_label),
        ("backbone", cell.backbone_label),
        ("data", f"{cell.dataset}, fingerprint {cell.dataset_fingerprint}"),
        ("protocol", f"{cell.protocol} (version {cell.protocol_version}), {shots_label(cell.shots)} a class"),
        ("fitted to", f"{facts['labels']} labels ({facts['fitted_to']})"),
        ("cell", cell.id),
        ("same model as the stored result", facts["agreement"]),
    ]
    chosen = {} if record.outcome is None else record.outcome.selected
    if chosen:
        rows.append(("chosen", ", ".join(f"{name} = {value}" for name, value in chosen.items())))
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return [*rows, ("versions", versions)]


def _confidence(description: Description) -> str:
    calibration = description.calibration
    if calibration.temperature is None:
        return f"{calibration.said[:1].upper()}{calibration.said[1:]}."
    return (
        f"Logits are divided by {calibration.temperature:.4g} (temperature scaling, Guo et al. 2017, "
        f"arXiv:1706.04599), fitted by likelihood to {calibration.examples} {calibration.said}. `probability` is "
        "without, `confidence` with it."
    )


def _table(rows: Sequence[tuple[str, str]]) -> str:
    lines = ["| | |", "|---|---|", *(f"| {_cell(name)} | {_cell(text)} |" for name, text in rows)]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(str(text).replace("|", "\\|").split())
