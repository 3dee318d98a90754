"""An exported model that is ready to answer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tlbench.backbones.image_recipe import framing
from tlbench.core.errors import UserError
from tlbench.core.hashing import sha256
from tlbench.core.paths import expand
from tlbench.inference.description import TOKENIZER, WEIGHTS, Description, read_description
from tlbench.inference.image_inputs import ImageReader
from tlbench.inference.inputs import Input, Unreadable
from tlbench.inference.network import build_network
from tlbench.inference.text_inputs import read_texts
from tlbench.training.length_buckets import text_lengths

if TYPE_CHECKING:
    import pandas as pd

BATCH_SIZE = 64
_TEXTS_AT_ONCE = 16  # batches of texts among which those of one length are put together


class Prediction(NamedTuple):
    """The answer for one input.

    Attributes:
        name: Of the input: its path, id, or number.
        label: Name of the most probable class.
        probability: Its probability as the network has it.
        confidence: The same, calibrated by temperature; None where the model is not calibrated.
    """

    name: str
    label: str
    probability: float
    confidence: float | None


@dataclass(frozen=True)
class Predictions(Sequence[Prediction]):
    """Answers in the order of the inputs, and what was passed over.

    Attributes:
        answers: The answers.
        unreadable: Inputs that could not be read, with reasons.
    """

    answers: tuple[Prediction, ...]
    unreadable: tuple[Unreadable, ...]

    def __len__(self) -> int:
        return len(self.answers)

    def __getitem__(self, index: Any) -> Any:
        """Return one answer, or several for a slice."""
        return self.answers[index]

    def to_frame(self) -> pd.DataFrame:
        """Return a table with the columns name, label, probability and confidence."""
        import pandas as pd

        return pd.DataFrame(list(self.answers), columns=list(Prediction._fields))


class Model:
    """A trained classifier of images or texts.

    Args:
        description: What it is.
        network: Maps raw inputs (B, ...) to logits (B, classes).
        tokenizer: Its tokeniser as JSON; empty for a model of images.
        device: Where it runs.
    """

    def __init__(self, description: Description, network: nn.Module, tokenizer: str, device: torch.device) -> None:
        self.description = description
        self.network = network.to(device)
        self.tokenizer = tokenizer
        self.device = device

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.description.classes

    def predict(self, inputs: Any, *, batch_size: int = BATCH_SIZE, text_column: str = "text") -> Predictions:
        """Return an answer for each input.

        Args:
            inputs: A path: of an image, a folder or zip of images, or a CSV, TSV, JSONL, Parquet or text file of texts;
                or several: paths of images, images of Pillow or arrays, or texts.
            batch_size: Inputs computed together.
            text_column: The column with the texts.

        Raises:
            UserError: There are no inputs, or none of them can be read.
        """
        unreadable: list[Unreadable] = []
        answers = list(self.answers(inputs, unreadable, batch_size=batch_size, text_column=text_column))
        return Predictions(tuple(answers), tuple(unreadable))

    def answers(
        self, inputs: Any, unreadable: list[Unreadable], *, batch_size: int = BATCH_SIZE, text_column: str = "text"
    ) -> Iterator[Prediction]:
        """Yield the answers one after another, as :meth:`predict` gives them; few inputs are in memory at once.

        Args:
            inputs: As of :meth:`predict`.
            unreadable: What cannot be read is appended to it.
            batch_size: As of :meth:`predict`.
            text_column: As of :meth:`predict`.
        """
        if batch_size < 1:
            raise UserError(f"a batch of {batch_size} inputs", "batch_size is 1 or more")
        several = batch_size * (_TEXTS_AT_ONCE if self.description.modality == "text" else 1)
        read = _readable(self._read(inputs, text_column), unreadable)
        answered = False
        while batch := list(islice(read, several)):
            answered = True
            logits = self.logits([each.value for each in batch], batch_size)
            yield from self._predictions([each.name for each in batch], logits)
        if not answered and unreadable:
            first = unreadable[0]
            raise UserError(
                f"none of {len(unreadable)} inputs can be read, as {first.name}: {first.reason}",
                f"the model reads {'images' if self.description.images else 'texts'}",
            )

    @torch.no_grad()
    def logits(self, values: Sequence[Any], batch_size: int = BATCH_SIZE) -> Tensor:
        """Return logits (n, classes), on the CPU in float32, of inputs as :class:`ImageReader` or a list has them.

        Args:
            values: Pixels (C, H, W) of one size, or texts.
            batch_size: Inputs computed together; texts stand beside those of their length.
        """
        raw = self.encode(values)
        order = np.arange(len(raw))
        if self.description.texts is not None:
            lengths = text_lengths(torch.from_numpy(raw))
            order = order if lengths is None else lengths.argsort(stable=True).numpy()
        out = torch.empty(len(raw), len(self.classes))
        for start in range(0, len(raw), batch_size):
            rows = order[start : start + batch_size]
            batch = torch.from_numpy(np.ascontiguousarray(raw[rows])).to(self.device)
            out[torch.from_numpy(rows)] = self.network(batch).float().cpu()
        return out

    def encode(self, values: Sequence[Any]) -> Any:
        """Return what the network reads: ``uint8`` images (n, C, H, W), or ``int32`` token ids (n, L)."""
        texts = self.description.texts
        if texts is None:
            return np.stack(values)
        from tlbench.data.tokenizer import encode

        return encode(self.tokenizer, values, texts.length, texts.pad).ids

    def _read(self, inputs: Any, column: str) -> Iterator[Input | Unreadable]:
        if isinstance(inputs, str | Path):
            inputs = expand(str(inputs))
        if self.description.images is None:
            return read_texts(inputs, column)
        recipe = self.description.backbone["recipe"]
        fill = tuple(round(255 * shade) for shade in recipe["mean"])
        return ImageReader(self.description.images, framing(recipe), fill).read(inputs)

    def _predictions(self, names: Sequence[str], logits: Tensor) -> Iterator[Prediction]:
        temperature = self.description.calibration.temperature
        scores = logits.double()
        probability, label = scores.softmax(1).max(1)
        confidence = None if temperature is None else (scores / temperature).softmax(1).amax(1)
        for row, name in enumerate(names):
            own = None if confidence is None else float(confidence[row])
            yield Prediction(name, self.classes[int(label[row])], float(probability[row]), own)


def load_model(folder: str | os.PathLike[str], device: str | None = None) -> Model:
    """Return the model in a folder that ``tlbench export`` wrote.

    Args:
        folder: The folder.
        device: Where to run it, as torch names it; None is a GPU where there is one, else the CPU.

    Raises:
        UserError: It is no such folder, of a newer version, or damaged; or a library that it needs is missing.
    """
    place = expand(os.fspath(folder))
    description = read_description(place)
    state = read_state(place, description)
    try:
        network = build_network(description, state)
    except UserError as error:
        raise error.at(str(place)) from error
    tokenizer = ""
    if description.texts is not None:
        try:
            tokenizer = (place / TOKENIZER).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UserError(f"{place / TOKENIZER}: cannot be read ({error})", "export the model again") from error
    return Model(description, network, tokenizer, _device(device))


def read_state(folder: Path, description: Description) -> dict[str, Tensor]:
    """Return the tensors of a model.

    Raises:
        UserError: The file is missing, damaged, or another one than was exported.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = folder / WEIGHTS
    if sha256(file) != description.weights:
        raise UserError(f"{file}: is damaged, or not the file that was exported", "copy or export the model again")
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: cannot be read ({error})", "copy or export the model again") from error


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r}: {str(error).splitlines()[0]}", "give cpu, or cuda") from error
    return chosen


def _readable(read: Iterator[Input | Unreadable], unreadable: list[Unreadable]) -> Iterator[Input]:
    """Yield what can be read, and append what cannot to a list."""
    for each in read:
        if isinstance(each, Unreadable):
            unreadable.append(each)
        else:
            yield each
