"""Cells in one plain loop of timm, transformers, peft, torch, torchvision and scikit-learn, as one writes it by hand.

    python tests/benchmarks/idiomatic_loop.py CELLS.json RESULTS.jsonl [--workers 0]

The other side of ``idiomatic.py``, which writes the list of cells; nothing of tlbench is imported. For each data set
the features of all training and test examples are computed once, by which the linear probe, the neighbours and the
linear head work. Every other method trains a copy of the network on the labels of the cell's draw and answers for the
whole test. Images are decoded once and stay in memory; test images are also transformed once. A line of the results is
the accuracy and the seconds of a cell; ``loading`` and ``features`` have lines of their own.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from idiomatic_few import FEW
from idiomatic_training import TRAINED, Job, Network, text_network
from PIL import Image
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from timm.data import create_transform, resolve_data_config
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from transformers import AutoTokenizer, DataCollatorWithPadding
from transformers.utils import logging

SMALL = 64  # pixels; larger photographs are cropped at random, smaller ones shifted


class Examples(Dataset[Any]):
    """Inputs with their labels, each transformed when it is read."""

    def __init__(self, inputs: Any, labels: np.ndarray, transform: Callable[[Any], Any] | None = None) -> None:
        self.inputs, self.labels, self.transform = inputs, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        x = self.inputs[place]
        return (x if self.transform is None else self.transform(x)), int(self.labels[place])


@dataclass
class Data:
    """A data set as a network reads it.

    Attributes:
        network: The network with its published weights.
        train: Training inputs: decoded images, or token ids.
        train_labels: Their labels (n,).
        test: Test inputs: transformed images, or token ids.
        test_labels: Their labels (m,).
        moves: What changes and transforms a training image; None for texts.
        plain: What transforms it for evaluation; None for texts.
        collate: Makes a batch.
        workers: Processes of a loader of training batches.
        texts: The training and the test texts themselves; empty for images.
    """

    network: Network
    train: Any
    train_labels: np.ndarray
    test: Any
    test_labels: np.ndarray
    moves: Callable[[Any], Tensor] | None = None
    plain: Callable[[Any], Tensor] | None = None
    collate: Callable[[list[Any]], Any] | None = None
    workers: int = 0
    texts: tuple[list[str], list[str]] = ((), ())  # type: ignore[assignment]

    def training_batches(self, rows: np.ndarray) -> DataLoader[Any]:
        """Return shuffled batches of 32 of some training examples."""
        inputs = [self.train[row] for row in rows]
        examples = Examples(inputs, self.train_labels[rows], self.moves)
        kept = {"num_workers": self.workers, "persistent_workers": True} if self.workers else {}
        return DataLoader(examples, batch_size=32, shuffle=True, collate_fn=self.collate, **kept)

    def test_batches(self) -> DataLoader[Any]:
        """Return the test in batches of 256."""
        return DataLoader(Examples(self.test, self.test_labels), batch_size=256, collate_fn=self.collate)

    def features(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the features of all training and all test examples."""
        plain = Examples(self.train, self.train_labels, self.plain)
        train = DataLoader(plain, batch_size=256, collate_fn=self.collate)
        return self._embed(train), self._embed(self.test_batches())

    @torch.inference_mode()
    def _embed(self, batches: DataLoader[Any]) -> np.ndarray:
        self.network.eval()
        return np.concatenate([self.network.features(x).numpy() for x, _ in batches])


def load_photos(spec: dict[str, Any]) -> Data:
    """Read a zip of train/class/image and test/class/image, or a domain of domain/class/image, a fifth for the test."""
    model = timm.create_model(spec["network"], pretrained=True, num_classes=0)
    size = spec["image_size"]
    plain = create_transform(**resolve_data_config({"input_size": (3, size, size)}, model=model))
    with zipfile.ZipFile(spec["path"]) as archive:
        names = [name for name in archive.namelist() if name.endswith((".jpg", ".png"))]
        parts = {part: [n for n in names if n.startswith(f"{part}/")] for part in ("train", "test")}
        if spec.get("domain"):
            own = [n for n in names if n.startswith(f"{spec['domain']}/")]
            classes = [n.split("/")[1] for n in own]
            parts["train"], parts["test"] = train_test_split(own, test_size=0.2, stratify=classes, random_state=0)
        names_of = {part: at_most(own, (spec.get("per_class") or {}).get(part)) for part, own in parts.items()}
        classes = sorted({n.split("/")[1] for n in names_of["train"]})
        images = {part: [decode(archive.read(n)) for n in own] for part, own in names_of.items()}
    labels = {part: np.array([classes.index(n.split("/")[1]) for n in own]) for part, own in names_of.items()}
    test = torch.stack([plain(image) for image in images["test"]])
    moves = photo_moves(images["train"][0].size, size, plain)
    return Data(Network(model), images["train"], labels["train"], test, labels["test"], moves, plain)


def at_most(names: list[str], count: int | None) -> list[str]:
    """Return a random part of the names, so many of each class."""
    of_class = defaultdict(list)
    for name in np.random.default_rng(0).permutation(names).tolist():
        of_class[name.split("/")[1]].append(name)
    return [name for own in of_class.values() for name in own[:count]]


def decode(data: bytes) -> Image.Image:
    """Return a decoded image."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def photo_moves(shown: tuple[int, int], size: int, plain: Any) -> Callable[[Any], Tensor]:
    """Return the usual augmentation of photographs of a size."""
    flip = transforms.RandomHorizontalFlip()
    if max(shown) <= SMALL:
        shift = transforms.RandomCrop(shown[::-1], padding=shown[0] // 8, padding_mode="edge")
        return transforms.Compose([shift, flip, plain])
    crop = transforms.RandomResizedCrop(size)
    return transforms.Compose([crop, flip, *plain.transforms[-2:]])  # to a tensor, and normalised


def load_texts(spec: dict[str, Any]) -> Data:
    """Read a csv of text, label, domain and split."""
    wanted = spec.get("domain")
    wanted = [wanted] if isinstance(wanted, str) else wanted
    with Path(spec["path"]).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if wanted is None or row["domain"] in wanted]
    parts = {part: [row for row in rows if row["split"] == part] for part in ("train", "test")}
    classes = sorted({row["label"] for row in parts["train"]})
    labels = {part: np.array([classes.index(row["label"]) for row in own]) for part, own in parts.items()}
    texts = {part: [row["text"] for row in own] for part, own in parts.items()}
    tokenizer = AutoTokenizer.from_pretrained(spec["network"])
    ids = {part: tokenizer(own, truncation=True)["input_ids"] for part, own in texts.items()}
    pad = DataCollatorWithPadding(tokenizer)

    def collate(batch: list[tuple[list[int], int]]) -> tuple[Any, Tensor]:
        return pad([{"input_ids": x} for x, _ in batch]), torch.tensor([y for _, y in batch])

    network, both = text_network(spec["network"]), (texts["train"], texts["test"])
    return Data(network, ids["train"], labels["train"], ids["test"], labels["test"], collate=collate, texts=both)


def draw(labels: np.ndarray, shots: int, seed: int) -> np.ndarray:
    """Return the rows of a random draw of so many examples of each class."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:shots] for c in np.unique(labels)])


def folds(shots: int) -> int:
    """Return in how many folds C and k are chosen."""
    return min(5, shots)


def probe(z: np.ndarray, y: np.ndarray, shots: int) -> Any:
    """Fit a logistic regression of features of length 1 on average, C chosen by folds."""
    if shots == 1:
        return LogisticRegression(C=1.0, max_iter=2000).fit(z, y)
    grid = {"Cs": np.logspace(-3, 5, 9), "cv": folds(shots), "scoring": "neg_log_loss", "max_iter": 2000}
    return LogisticRegressionCV(**grid, l1_ratios=(0.0,), use_legacy_attributes=False).fit(z, y)


def neighbours(z: np.ndarray, y: np.ndarray, shots: int) -> Any:
    """Fit nearest neighbours by cosine, k chosen by folds."""
    weights: Callable[[np.ndarray], np.ndarray] = lambda distance: np.exp((1 - distance) / 0.07)  # noqa: E731
    knn = KNeighborsClassifier(1, metric="cosine", weights=weights)
    if shots == 1:
        return knn.fit(z, y)
    most = len(y) - len(y) // folds(shots) - 1
    grid = {"n_neighbors": [k for k in (1, 3, 5, 10, 20, 50, 100, 200) if k <= most]}
    return GridSearchCV(knn, grid, cv=folds(shots)).fit(z, y)


def words(texts: list[str], y: np.ndarray, shots: int) -> Any:
    """Fit a logistic regression of TF-IDF weights, C chosen by folds."""
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=2000))
    if shots == 1:
        return model.fit(texts, y)
    grid = {"logisticregression__C": np.logspace(-2, 3, 6)}
    return GridSearchCV(model, grid, cv=folds(shots), scoring="neg_log_loss").fit(texts, y)


def accuracy(cell: dict[str, Any], data: Data, features: tuple[np.ndarray, np.ndarray] | None) -> float:
    """Fit a cell's method on its draw, and return its accuracy on the test."""
    torch.manual_seed(cell["seed"])
    shots, rows = cell["shots"], draw(data.train_labels, cell["shots"], cell["seed"])
    y = data.train_labels[rows]
    if cell["method"] == "tfidf":
        train, test = data.texts
        found = words([train[row] for row in rows], y, shots).predict(test)
        return float((found == data.test_labels).mean())
    assert features is not None
    mean = features[0][rows].mean(0)
    scale = np.sqrt(((features[0][rows] - mean) ** 2).sum(1).mean())
    z, z_test = ((part - mean) / scale for part in (features[0][rows], features[1]))
    if cell["method"] == "knn":
        found = neighbours(features[0][rows], y, shots).predict(features[1])
        return float((found == data.test_labels).mean())
    if cell["method"] == "linear_probe":
        return float((probe(z, y, shots).predict(z_test) == data.test_labels).mean())
    job = Job(data, rows, cell["epochs"], features)
    if cell["method"] in ("lp_ft", "wise_ft"):
        fitted = probe(z, y, shots)
        job.start = fitted.coef_ / scale, fitted.intercept_ - fitted.coef_ @ mean / scale
    return {**TRAINED, **FEW}[cell["method"]](job)


@contextmanager
def timed(results: Path, line: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Write a line with the seconds of what is done inside."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield line
    line["seconds"], line["cpu_seconds"] = time.perf_counter() - wall, time.process_time() - cpu
    with results.open("a") as file:
        file.write(json.dumps(line) + "\n")


def main() -> None:
    """Go through the cells, data set by data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--workers", type=int, default=0, help="processes that load training batches")
    asked = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for each in json.loads(asked.cells.read_text()):
        with timed(asked.results, {"method": "loading"}):
            data = (load_texts if each["spec"]["kind"] == "texts" else load_photos)(each["spec"])
            data.workers = asked.workers
        features = None
        if any(cell["method"] != "tfidf" for cell in each["cells"]):
            with timed(asked.results, {"method": "features"}):
                features = data.features()
        for cell in each["cells"]:
            with timed(asked.results, {key: cell[key] for key in ("method", "dataset", "shots", "seed")}) as line:
                line["accuracy"] = accuracy(cell, data, features)


if __name__ == "__main__":
    main()
