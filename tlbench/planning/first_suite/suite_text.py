"""The text of the first suite, with a comment on every choice."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlbench.planning.first_suite.choices import FROZEN, SEEDS, Choices
from tlbench.planning.first_suite.data_facts import DataFacts
from tlbench.planning.first_suite.networks import Network

_RARE = 3.0  # times as many examples of the most frequent class as of the rarest, from which it is told
_WIDTH = 118


def facts_lines(facts: DataFacts) -> Iterator[str]:
    """Yield what the data are, a sentence a line."""
    info = facts.info
    what = "images" if info.modality == "image" else "texts"
    parts = ", ".join(f"{facts.examples(part)} to {verb} on" for part, verb in _purposes(info.counts))
    yield f"{len(info.classes)} classes of {what}: {parts}"
    if facts.imbalance >= _RARE:
        counts = info.counts["train"]
        most, least = (info.classes[counts.index(value)] for value in (max(counts), min(counts)))
        yield f"classes are of different size: {max(counts)} training examples of {most!r}, {min(counts)} of {least!r}"
    if info.modality == "image":
        size = "x".join(map(str, info.shape[1:])) if not info.usual_side else f"of several sizes, {info.usual_side}"
        yield f"images are {size} pixels, {'grey' if info.shape[0] == 1 else 'in colour'}"
    else:
        yield f"nine of ten texts have at most {facts.words} words"
    if facts.copied:
        yield f"{facts.copied} test examples are also among those to train on, which flatters every method"
    if info.domains:
        yield f"{len(info.domains)} domains ({', '.join(info.domains[:4])}): pairs: all would compare adaptation"
    yield from info.warnings


def suite_text(suite: Path, facts: DataFacts, network: Network, choices: Choices, minutes: float) -> str:
    """Return the suite.

    Args:
        suite: Where its file will lie; its stem is the name.
        facts: The data.
        network: The network.
        choices: What is compared.
        minutes: The time that it was chosen for.
    """
    head = (
        f"Which way of using {network.info.label} suits these data? Chosen for {minutes:g} minutes on this machine; "
        f"about {max(1, round(choices.seconds / 60))} CPU-minutes are planned."
    )
    lines = [
        f"# tlbench run {suite}",
        "#",
        *_comment(head),
        *(line for fact in facts_lines(facts) for line in _comment(fact)),
    ]
    lines += [f"name: {suite.stem}", "baseline: linear_probe   # what every method that trains the network must beat"]
    if facts.imbalance >= _RARE:
        why = "a rare class counts as much as a frequent one; accuracy, macro_f1, auroc, ... are others"
        lines += [f"metric: balanced_accuracy   # {why}"]
    lines += ["grids:", "  - protocol: classification", "    methods:"]
    lines += [f"      - {method}" for method in FROZEN]
    training = {"epochs": choices.epochs} if choices.epochs else {}
    if choices.epochs:
        lines += _comment(f"epochs: {choices.epochs} is what the time allows; by default 40", 6)
    lines += [f"      - {_flow({'name': m, 'params': training}) if training else m}" for m in choices.trained]
    if choices.left_out:
        lines += _comment(f"no time for: {', '.join(choices.left_out)}; add them if you can wait", 6)
    lines += [
        "    backbones:",
        *_network_lines(network, choices),
        "    datasets:",
        *_dataset_lines(facts, choices, suite.parent),
    ]
    lines += ["    shots: [full]   # all labels; [5, 20, full] also shows what fewer would do"]
    lines += [f"    seeds: {SEEDS}   # three is the least that shows how much is luck; ten tell smaller differences"]
    return "\n".join(lines) + "\n"


def _network_lines(network: Network, choices: Choices) -> Iterator[str]:
    for reason in network.refused:
        yield from _comment(f"not to be had here: {reason}", 6)
    spec = dict(network.spec)
    if choices.side is not None:
        made_for = network.info.made_for
        yield from _comment(
            f"at {choices.side} pixels: at {made_for}, which it was made for, there is no time to train it", 6
        )
        spec["image_size"] = choices.side
    yield f"      - {_flow(spec)}"


def _dataset_lines(facts: DataFacts, choices: Choices, folder: Path) -> Iterator[str]:
    data = {"name": facts.source, **facts.params, "path": _path(facts.params["path"], folder)}
    if choices.per_class is None:
        yield f"      - {_flow(data)}"
        return
    train, test = choices.per_class
    yield from _comment("a fixed sample: with all of them there is no time to train the network", 6)
    yield f"      - {_flow({'of': data, 'per_class': {'train': train, 'test': test}})}"


def _path(path: str, folder: Path) -> str:
    """Return the path of the data as the suite gives it: relative where both lie in the current folder."""
    here = Path.cwd()
    if Path(path).is_relative_to(here) and folder.absolute().is_relative_to(here):
        return os.path.relpath(path, folder)
    return path


def _purposes(counts: dict[str, Any]) -> list[tuple[str, str]]:
    verbs = {"train": "train", "val": "choose", "test": "test"}
    return [(part, verb) for part, verb in verbs.items() if part in counts]


def _flow(value: Any) -> str:
    """Return a value as YAML in one line; texts are quoted where they could mean something else."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str) and not value.replace("_", "").replace("-", "").isalnum():
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _comment(text: str, indent: int = 0) -> list[str]:
    """Return a text as lines of comment."""
    return [f"{' ' * indent}# {line}" for line in textwrap.wrap(text, _WIDTH - indent)]
