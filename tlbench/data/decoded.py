"""What a source hands over, its fingerprint, and how it lies on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
from numpy.typing import NDArray

from tlbench.core.hashing import canonical
from tlbench.core.info import DatasetInfo
from tlbench.data.dataset import TEST, TRAIN, VAL, Dataset
from tlbench.data.mixed_images import MixedImages
from tlbench.store.array_files import create_array, write_array

VERSION = 1
_CHUNK = 4096
_PARTS = {"train": TRAIN, "val": VAL, "test": TEST}


@dataclass(frozen=True)
class Decoded:
    """The content of a dataset, whatever it was read from.

    Attributes:
        x: ``uint8`` images (N, C, H, W), possibly a :func:`canvas`, or N images of several sizes, or N texts.
        y: Labels (N,).
        part: TRAIN, VAL or TEST of each example (N,).
        classes: Class names; the label is the position.
        domain: Domain of each example (N,); None when there is one domain.
        domains: Domain names.
        class_splits: Class labels of ``train``, ``val`` and ``test`` for episodic use, where the source declares them.
        warnings: What a reader of the results must know.
        target: Fingerprint of the dataset that the target of a pair of domains was taken from, and the domain, as in
            :class:`tlbench.core.info.DatasetInfo`.
        group: Group of each example (N,), where those of one resemble each other; None where there are no groups.
    """

    x: NDArray[np.uint8] | MixedImages | Sequence[str]
    y: NDArray[np.int64]
    part: NDArray[np.uint8]
    classes: tuple[str, ...]
    domain: NDArray[np.int64] | None = None
    domains: tuple[str, ...] = ()
    class_splits: dict[str, tuple[int, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    target: str = ""
    group: NDArray[np.int64] | None = None


class Texts(Sequence[str]):
    """Texts that stay in a file: one UTF-8 blob and the offsets of its parts.

    Args:
        blob: Bytes of all texts, one after the other.
        offsets: Where each begins, and the end of the last (N + 1,).
    """

    def __init__(self, blob: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self._blob = blob
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """Return one text, or a list for a slice."""
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        return self._blob[self._offsets[row] : self._offsets[row + 1]].tobytes().decode()


def canvas(folder: Path, count: int, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return a writable array (count, *shape) in the dataset's folder, for images that may not fit in memory.

    Raises:
        UserError: The disk has no room for it.
    """
    return create_array(folder / "x.npy", np.uint8, (count, *shape))


def save(decoded: Decoded, name: str, folder: Path) -> None:
    """Write a decoded dataset into a folder.

    Args:
        decoded: The content.
        name: How people call it.
        folder: An existing folder; an ``x.npy`` that is there is the canvas of ``decoded``.
    """
    x = decoded.x
    if isinstance(x, np.memmap):
        x.flush()
    elif isinstance(x, np.ndarray):
        write_array(folder / "x.npy", x)
    elif isinstance(x, MixedImages):
        if not isinstance(x.pixels, np.memmap):
            write_array(folder / "x.npy", x.pixels)
        write_array(folder / "sizes.npy", x.sizes)
    else:
        blob, offsets = _pack(x)
        write_array(folder / "x.npy", blob)
        write_array(folder / "offsets.npy", offsets)
    shape: tuple[int, ...] = (x.channels, 0, 0) if isinstance(x, MixedImages) else ()
    shape = tuple(int(side) for side in x.shape[1:]) if isinstance(x, np.ndarray) else shape
    domain = np.zeros(len(decoded.y), np.int64) if decoded.domain is None else decoded.domain
    write_array(folder / "y.npy", decoded.y.astype(np.int64))
    write_array(folder / "part.npy", decoded.part.astype(np.uint8))
    write_array(folder / "domain.npy", domain.astype(np.int64))
    if decoded.group is not None:
        write_array(folder / "group.npy", decoded.group.astype(np.int64))
    info = DatasetInfo(
        name=name,
        modality="image" if shape else "text",
        fingerprint=fingerprint(decoded),
        classes=decoded.classes,
        shape=shape,
        counts=_counts(decoded),
        class_splits=decoded.class_splits,
        domains=decoded.domains,
        warnings=decoded.warnings,
        target=decoded.target,
        usual_side=x.usual_side if isinstance(x, MixedImages) else 0,
    )
    facts = {key: value for key, value in asdict(info).items() if key != "usual_side" or value}
    (folder / "info.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")


def load(folder: Path) -> Dataset:
    """Open a saved dataset: shared pages, private writes."""
    info = _info(json.loads((folder / "info.json").read_text(encoding="utf-8")))
    x, y, part, domain = (_open(folder / f"{name}.npy") for name in ("x", "y", "part", "domain"))
    return Dataset(
        info=info,
        x=_inputs(x, info, folder),
        y=y,
        part=part,
        domain=domain,
        group=_open(folder / "group.npy") if (folder / "group.npy").exists() else None,
    )


def _inputs(x: NDArray[Any], info: DatasetInfo, folder: Path) -> NDArray[Any] | MixedImages | Texts:
    if info.modality == "text":
        return Texts(x, _open(folder / "offsets.npy"))
    return x if all(info.shape) else MixedImages(x, _open(folder / "sizes.npy"), info.shape[0])


def fingerprint(decoded: Decoded) -> str:
    """Return the hash of everything that a protocol could see of a dataset: of its content, never of where it is."""
    x = decoded.x
    shape = x.shape if isinstance(x, np.ndarray) else (len(x),)
    if isinstance(x, MixedImages):
        shape = (len(x), x.channels, 0, 0)
    facts = {
        "shape": shape,
        "classes": decoded.classes,
        "domains": decoded.domains,
        "class_splits": decoded.class_splits,
        **({} if decoded.group is None else {"grouped": True}),
    }
    content = hashlib.sha256(canonical(facts).encode())
    for array in (decoded.y, decoded.part, decoded.domain, decoded.group):
        if array is not None:
            content.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    for piece in _pieces(decoded.x):
        content.update(piece)
    return content.hexdigest()[:32]


def _pieces(x: NDArray[np.uint8] | MixedImages | Sequence[str]) -> Iterator[bytes]:
    if isinstance(x, MixedImages):
        yield x.sizes.astype("<i8").tobytes()
        yield from (np.ascontiguousarray(image).tobytes() for image in x)
        return
    if not isinstance(x, np.ndarray):
        blob, offsets = _pack(x)
        yield offsets.astype("<i8").tobytes()
        yield blob.tobytes()
        return
    for start in range(0, len(x), _CHUNK):
        yield np.ascontiguousarray(x[start : start + _CHUNK]).tobytes()


def _pack(texts: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    encoded = [text.encode() for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in encoded])]).astype(np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def _counts(decoded: Decoded) -> dict[str, tuple[int, ...]]:
    counts = {}
    for name, part in _PARTS.items():
        rows = decoded.part == part
        if rows.any():
            counts[name] = tuple(np.bincount(decoded.y[rows], minlength=len(decoded.classes)).tolist())
    return counts


def _open(file: Path) -> NDArray[Any]:
    return cast("NDArray[Any]", np.load(file, mmap_mode="c").view(np.ndarray))


def _info(stored: dict[str, Any]) -> DatasetInfo:
    for key in ("classes", "shape", "domains", "warnings"):
        stored[key] = tuple(stored[key])
    for key in ("counts", "class_splits"):
        stored[key] = {name: tuple(values) for name, values in stored[key].items()}
    return DatasetInfo(**stored)
