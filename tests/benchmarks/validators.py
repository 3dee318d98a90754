"""How well validators choose checkpoints and configurations of adaptation, on pairs of domains that no suite uses.

    uv run --extra timm python tests/benchmarks/validators.py train RUNS.jsonl [--pacs pacs160.zip] [--configurations 6]
    uv run python tests/benchmarks/validators.py table RUNS.jsonl

``train`` trains every adaptation method on every pair, under its default configuration and others drawn from its
search space, and writes for each checkpoint the score of each validator beside the accuracy on the target's test. What
the file has already is not trained again. Pairs of small images: handwritten to printed digits, and Armenian letters
between two faces, on a small network with random weights. With PACS (7 classes; photographs, paintings, cartoons,
sketches) also pairs of its domains, 100 images a class, as features of an EfficientNet-Lite0 pre-trained on
ImageNet, under which a bottleneck and a head are trained.

``table`` reports for each validator, over pairs and methods of equal weight,

* ``rho``: Spearman's correlation, over the configurations of a method, of the score with the accuracy; each
  configuration by the checkpoint that the validator chose;
* ``lost``: points of accuracy between the configuration and checkpoint that it chose and the best of all, ``worst`` the
  largest; ``over default`` what its choice gains over the default configuration (by its own checkpoint);
* ``unmarked lost``: the same without methods that maximise the validator (``OPTIMISES``);
* ``all rho``: the correlation over configurations of all methods of a pair together, as a leaderboard compares them.

Besides the validators of the package: ``threshold`` estimates the accuracy by the share of target examples whose
confidence exceeds what leaves the right share of the source's (Garg et al. 2022, arXiv:2201.04234); ``weighted`` is the
source's accuracy, each example weighted by how much the outputs look like the target's (a logistic regression tells
the domains apart; You et al. 2019, ICML, of features, without the control variate).

Found with one seed, six configurations on the pairs of PACS and four on digits to printed digits (224 trainings):

    validator                  rho   lost  worst  over default  unmarked lost  all rho
    nuclear_norm              0.66    2.9   14.4           0.4            2.7     0.76
    information               0.67    3.3   14.8           0.0            2.7     0.77
    source_and_information    0.64    3.4   14.8          -0.1            2.7     0.74
    entropy                   0.65    3.4   14.8          -0.1            2.9     0.68
    last                      0       3.5   16.8           0              3.5     0.38
    clusters                  0.64    3.6   15.3          -0.9            3.6     0.77
    threshold                 0.48    4.3   22.1          -1.0            4.3     0.54
    source_accuracy           0.10    8.6   18.0          -2.7            8.6    -0.09
    weighted                  0.16    9.0   24.4          -1.2            9.0    -0.06
    density                  -0.80   25.5   54.5         -13.9           25.5    -0.78

So ``nuclear_norm`` is the default, for checkpoints and configurations: it loses least, and is the only one whose choice
is better than the default configuration on average, by little. ``clusters``, which looks at no certainty and which no
method here maximises, orders methods as well, and is what a ranking is shown by a second time. The soft neighbourhood
density misleads with so few classes: it is largest for uncertain models, whose predictions are all alike. What the
source says chooses nothing.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import spearmanr
from torch import Tensor, nn

from tlbench.backbones.catalog import build, describe
from tlbench.core.info import BackboneInfo, DatasetInfo, TaskInfo
from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import SOURCE, SOURCE_VAL, TEST, TRAIN, Dataset
from tlbench.plugins import registry
from tlbench.protocols import adaptation
from tlbench.protocols._candidates import CandidateOutputs
from tlbench.search.space import space_of
from tlbench.stats.validators import VALIDATORS, ValidatorInputs, best_candidate, source_accuracy
from tlbench.store.artifacts import Artifacts
from tlbench.training.context import Context

METHODS = ("source_only", "adabn", "coral", "mmd", "dann", "cdan", "mcc", "shot")
SMALL: dict[str, dict[str, dict[str, Any]]] = {
    "digits -> rendered_digits": {
        "source": {"name": "digits"},
        "target": {"name": "rendered_digits", "images": 2100},
    },
    "armenian Serif -> SansMono": {
        side: {"name": "glyphs", "variants": 10, "scripts": ["armenian"], "domain": face}
        for side, face in (("source", "DejaVuSerif"), ("target", "DejaVuSansMono"))
    },
}
STEPS = {"digits": {"steps": 250}, "glyphs": {"steps": 500, "lr": 0.03}}  # letters have more classes to learn
PACS = (("photo", "art_painting"), ("photo", "cartoon"), ("art_painting", "sketch"), ("sketch", "cartoon"))
EACH = 100  # images of a class of a domain of PACS
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Pair:
    """A pair of domains and what to train on it: a network for each training, and the fixed parameters."""

    name: str
    dataset: Dataset
    network: Callable[[], nn.Module]
    params: dict[str, Any]


class Features(nn.Module):
    """Passes features (B, D, 1, 1) on."""

    def __init__(self, width: int, info: BackboneInfo) -> None:
        super().__init__()
        self.out_dim, self.info = width, info

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, D)."""
        return x.flatten(1)


def small_pairs(artifacts: Artifacts) -> Iterator[Pair]:
    """Yield the pairs of small images."""
    for name, source in SMALL.items():
        dataset = open_dataset("pair", source, artifacts)
        info = describe("conv4", {"width": 16, "image_size": 16, "channels": 1}, {"kind": "random"})
        params = {"checks": 5, "bottleneck": 64, **STEPS[source["source"]["name"]]}
        yield Pair(name, dataset, lambda info=info: build(info, 0, None), params)


def pacs_pairs(path: Path, cache: Path) -> Iterator[Pair]:
    """Yield pairs of domains of PACS as features; these are kept beside the results."""
    info = describe("timm:tf_efficientnet_lite0", {}, {"kind": "timm", "name": "DEFAULT"})
    if not cache.exists():
        np.savez(cache, **_features(path, info))
    stored = np.load(cache, allow_pickle=False)
    x, y, domain, names = (stored[key] for key in ("x", "y", "domain", "names"))
    is_test = np.random.default_rng(0).random(len(y)) < 0.3
    for one, other in PACS:
        own, target = (np.flatnonzero(domain == name) for name in (one, other))
        part = np.concatenate([np.where(is_test[own], SOURCE_VAL, SOURCE), np.where(is_test[target], TEST, TRAIN)])
        rows = np.concatenate([own, target])
        train = y[target][~is_test[target]]
        facts = DatasetInfo(
            name=f"pacs: {one} -> {other}",
            modality="image",
            fingerprint=f"{one}-{other}",
            classes=tuple(map(str, names)),
            shape=(x.shape[1], 1, 1),
            counts={"train": tuple(np.bincount(train, minlength=len(names)).tolist())},
            domains=(one, other),
            target="pacs",
        )
        dataset = Dataset(
            info=facts,
            x=x[rows][:, :, None, None],
            y=y[rows],
            part=part.astype(np.uint8),
            domain=np.repeat([0, 1], [len(own), len(target)]),
        )
        params = {"steps": 250, "checks": 5, "augment": "none", "bottleneck": 128}
        yield Pair(facts.name, dataset, lambda: Features(x.shape[1], info), params)


def _features(path: Path, info: BackboneInfo) -> dict[str, NDArray[Any]]:
    """Return features, labels, domains and class names of all images of PACS."""
    from PIL import Image

    network = build(info, 0, None).eval()
    with zipfile.ZipFile(path) as archive:
        folders: dict[str, list[str]] = {}
        for name in sorted(each for each in archive.namelist() if each.endswith((".jpg", ".png"))):
            folders.setdefault(name.rpartition("/")[0], []).append(name)
        files = [name for folder in folders.values() for name in folder[:EACH]]
        classes = sorted({name.split("/")[1] for name in files})
        z = []
        for start in range(0, len(files), 64):
            images = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in files[start : start + 64]]
            batch = np.stack([np.asarray(image).transpose(2, 0, 1) for image in images])
            with torch.no_grad():
                z.append(network(torch.from_numpy(batch)).numpy())
            print(f"\rfeatures: {start + len(batch)} of {len(files)}", end="", file=sys.stderr)
    labels = [classes.index(name.split("/")[1]) for name in files]
    domains = np.array([name.split("/")[0] for name in files])
    return {"x": np.concatenate(z), "y": np.array(labels), "domain": domains, "names": np.array(classes)}


def configurations(method: str, params: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Return the default configuration and draws from the method's search space."""
    declared = registry.declaration("methods", method)
    defaults = declared.settings(**params).model_dump()
    space = space_of(declared.settings, defaults, {}, frozenset(params))
    generator = Random(method)
    return [params, *({**params, **space.draw(generator)} for _ in range(count - 1))]


def train(pair: Pair, method: str, params: dict[str, Any], seed: int) -> list[dict[str, float]]:
    """Train once and return the scores and the accuracy of each checkpoint."""
    module = registry.declaration("methods", method).load()
    ctx = Context(random_root=f"validators-{seed}", device=CPU)
    info = TaskInfo(
        "adaptation", pair.dataset.info, 0, len(pair.dataset.info.classes), adaptation.Options().model_dump()
    )
    torch.manual_seed(seed)
    config = module.Config(**params)
    adaptation.run(info, pair.dataset, seed, lambda task: module.fit(task, pair.network(), config, ctx), ctx)
    assert ctx.on_candidate is not None
    outputs: CandidateOutputs = ctx.on_candidate.__self__  # type: ignore[attr-defined]
    labels, truth = (pair.dataset.y[pair.dataset.rows(part)] for part in (SOURCE_VAL, TEST))
    found = []
    for step in outputs.steps:
        logits = outputs.logits(step)
        given = ValidatorInputs(step, logits["source"], labels, logits["target"])
        scores = {name: validate(given) if given.finite else -np.inf for name, validate in CANDIDATES.items()}
        found.append({**scores, "accuracy": float((logits["test"].argmax(1) == truth).mean())})
    return found


def threshold(answers: ValidatorInputs) -> float:
    """Return the share of target predictions above the confidence that as many source predictions fail as are wrong."""
    source, target = (softmax(part.astype(np.float64), 1).max(1) for part in (answers.source, answers.target))
    return float((target >= np.quantile(source, 1 - source_accuracy(answers))).mean())


def weighted(answers: ValidatorInputs) -> float:
    """Return the source accuracy, weighted towards examples whose probabilities look like the target's."""
    from sklearn.linear_model import LogisticRegression

    source, target = (softmax(part.astype(np.float64), 1) for part in (answers.source, answers.target))
    x, y = np.concatenate([source, target]), np.repeat([0, 1], [len(source), len(target)])
    p = LogisticRegression(max_iter=500).fit(x, y).predict_proba(source)
    return float(np.average(answers.source.argmax(1) == answers.labels, weights=p[:, 1] / p[:, 0]))


CANDIDATES = {**VALIDATORS, "threshold": threshold, "weighted": weighted}


def table(runs: Sequence[dict[str, Any]], pairs: Sequence[str] = ()) -> list[tuple[str, dict[str, float]]]:
    """Return each validator's figures, those that lose least first; ``pairs`` leaves others out."""
    groups: dict[tuple[str, str], list[list[dict[str, float]]]] = {}
    for run in runs:
        if not pairs or run["pair"] in pairs:
            groups.setdefault((run["pair"], run["method"]), []).append(run["checkpoints"])
    names = list(runs[0]["checkpoints"][0])[:-1]
    found = [(name, _figures(groups, name)) for name in names]
    return sorted(found, key=lambda item: item[1]["lost"])


def _figures(groups: dict[tuple[str, str], list[list[dict[str, float]]]], name: str) -> dict[str, float]:
    rhos, lost, unmarked, gained = [], [], [], []
    by_pair: dict[str, list[dict[str, float]]] = {}
    for (pair, method), found in groups.items():
        chosen = [each[best_candidate([step[name] for step in each])] for each in found]
        by_pair.setdefault(pair, []).extend(chosen)
        best = max(step["accuracy"] for each in found for step in each)
        winner = max(chosen, key=lambda step: step[name])
        lost.append(100 * (best - winner["accuracy"]))
        gained.append(100 * (winner["accuracy"] - chosen[0]["accuracy"]))
        if name not in registry.declaration("methods", method).constants.OPTIMISES:
            unmarked.append(lost[-1])
        rhos.append(_rho(chosen, name))
    return {
        "rho": fmean(rhos),
        "lost": fmean(lost),
        "worst": max(lost),
        "over default": fmean(gained),
        "unmarked lost": fmean(unmarked),
        "all rho": fmean(_rho(chosen, name) for chosen in by_pair.values()),
    }


def _rho(chosen: Sequence[dict[str, float]], name: str) -> float:
    values, accuracies = ([step[key] for step in chosen] for key in (name, "accuracy"))
    if len(set(values)) < 2 or len(set(accuracies)) < 2:
        return 0.0
    return float(spearmanr(np.nan_to_num(values, neginf=-1e9), accuracies).statistic)


def main() -> None:
    """Train, or print the table of what was trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("train", "table"))
    parser.add_argument("runs", type=Path)
    parser.add_argument("--pacs", type=Path)
    parser.add_argument("--configurations", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--pairs", nargs="*", default=(), help="only those whose names begin so")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    runs = [json.loads(line) for line in asked.runs.read_text().splitlines()] if asked.runs.exists() else []
    if asked.task == "table":
        _print(runs)
        return
    done = {(run["pair"], run["method"], run["number"], run["seed"]) for run in runs}
    with tempfile.TemporaryDirectory() as folder, asked.runs.open("a") as file:
        found = [*small_pairs(Artifacts(Path(folder)))]
        if asked.pacs is not None:
            found += pacs_pairs(asked.pacs, asked.runs.with_suffix(".npz"))
        for seed in range(asked.seeds):
            for number in range(asked.configurations):
                for pair in found:
                    for method in METHODS:
                        key = (pair.name, method, number, seed)
                        if key in done or (asked.pairs and not pair.name.startswith(tuple(asked.pairs))):
                            continue
                        params = configurations(method, pair.params, asked.configurations)[number]
                        checkpoints = train(pair, method, params, seed)
                        run = dict(zip(("pair", "method", "number", "seed"), key, strict=True))
                        file.write(json.dumps({**run, "params": params, "checkpoints": checkpoints}) + "\n")
                        file.flush()


def _print(runs: Sequence[dict[str, Any]]) -> None:
    names = sorted({run["pair"] for run in runs})
    photographs = [name for name in names if name.startswith("pacs")]
    small = [name for name in names if name not in photographs]
    for title, pairs in (("all", names), ("small images", small), ("PACS", photographs)):
        if not pairs:
            continue
        count = sum(run["pair"] in pairs for run in runs)
        print(f"\n{title}: {len(pairs)} pairs, {count} trainings")
        for name, figures in table(runs, pairs):
            print(f"{name:24}", *(f"{key} {value:6.2f}" for key, value in figures.items()), sep="  ")


if __name__ == "__main__":
    main()
