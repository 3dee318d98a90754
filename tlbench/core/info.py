"""What a method may know of its task and backbone before any tensor exists: plain, frozen facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Modality = Literal["image", "text"]
Shots = int | Literal["full"]


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """Facts of a decoded dataset.

    Attributes:
        name: Name as the suite wrote it, e.g. ``digits`` or ``folder(birds)``.
        modality: ``image`` or ``text``.
        fingerprint: Hash of the decoded content (inputs, labels, splits, class names), never of a path.
        classes: Class names; the label is the position.
        shape: (channels, height, width) of an image; empty for texts. Height and width are 0 where images differ in
            size.
        counts: Examples per class in each example split: ``{"train": (..), "test": (..)}`` and ``"val"``
            where the source ships one.
        class_splits: Class labels of the ``train``, ``val`` and ``test`` parts for episodic use; empty when
            the source declares none (the episodic protocol then deals the classes itself).
        domains: Domain names, empty when the source has none.
        warnings: What a reader of the results must know (merged classes, skipped files, ...).
        target: Fingerprint of the dataset that the target of a pair of domains was taken from, and the domain behind a
            slash if it was one; empty where there is no pair. ``counts`` of a pair are the target's.
        origin: Where the labelled examples come from, whatever is done to them
            (:mod:`tlbench.core.label_provenance`): the name of a published set, the path of the user's own, a domain
            behind it; of a pair, the target's. Known when it is opened, never stored, and no part of any id.
        usual_side: The shorter side of a usual image (the median), in pixels, where images differ in size; else 0.
    """

    name: str
    modality: Modality
    fingerprint: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    counts: dict[str, tuple[int, ...]]
    class_splits: dict[str, tuple[int, ...]] = field(default_factory=dict)
    domains: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    target: str = ""
    origin: str = ""
    usual_side: int = 0

    @property
    def short_side(self) -> int:
        """The shorter side of a usual image, in pixels; 0 for texts."""
        return self.usual_side or min(self.shape[1:], default=0)


@dataclass(frozen=True, slots=True)
class WeightsContents:
    """What a file of weights holds, without the values.

    Attributes:
        shapes: Shape of each tensor by name; empty where the file cannot be read.
        metadata: What the file says beside its tensors; empty unless it is a safetensors file.
    """

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class BackboneInfo:
    """Facts of a backbone: an architecture plus where its weights come from.

    Attributes:
        name: Architecture name, e.g. ``resnet18`` or ``conv4``.
        family: The family in ``tlbench/backbones`` that builds it, e.g. ``torchvision``.
        modality: What it reads.
        label: Short text that names architecture and weights, for people, e.g. ``conv4/supervised@glyphs``.
        recipe: Everything that decides its function, JSON-like: ``name``, ``family``, ``weights`` (a mapping with
            ``kind``), ``image_size``, ``channels``, ``stem``, architecture options. Hashed into the cell id.
        made_for: Side of the images that given weights were made for, in pixels; 0 where the weights are random or the
            network reads text. No part of any id.
    """

    name: str
    family: str
    modality: Modality
    label: str
    recipe: dict[str, Any]
    made_for: int = 0

    @property
    def weights(self) -> str:
        """Where the weights come from: ``random``, ``torchvision``, ``timm``, ``hf``, ``file`` or ``pretrain``."""
        return str(self.recipe["weights"]["kind"])


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """Facts of one task, the same for every method that meets it.

    Attributes:
        protocol: ``classification``, ``episodic``, ...
        dataset: Facts of the target dataset.
        shots: Labelled examples per class, validation included, or ``full``.
        classes: Number of classes to predict (the ways of an episode in ``episodic``).
        options: The protocol's own settings (``ways``, ``queries``, ``episodes``, ...).
    """

    protocol: str
    dataset: DatasetInfo
    shots: Shots
    classes: int
    options: dict[str, Any]
