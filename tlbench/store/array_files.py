"""Arrays in files, as numpy lays them out, for which the disk has room before they are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tlbench.store.disk_space import disk_full, is_disk_full, reserve


def create_array(file: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a new array of zeros that is mapped to a file, in the place of one of that name.

    Raises:
        UserError: The disk is full.
    """
    kind = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    with _new_file(file, size) as stream:
        np.lib.format.write_array_header_1_0(_plain(stream), header)
        stream.flush()
        reserve(stream, size)
    return np.lib.format.open_memmap(file, mode="r+")


def write_array(file: Path, array: NDArray[Any]) -> None:
    """Write an array into a new file, in the place of one of that name.

    Raises:
        UserError: The disk is full.
    """
    with _new_file(file, array.nbytes) as stream:
        reserve(stream, array.nbytes)
        np.lib.format.write_array(_plain(stream), array, allow_pickle=False)


@contextmanager
def _new_file(file: Path, size: int) -> Iterator[BinaryIO]:
    """Open a new file; a full disk becomes the error that says how much of the size is missing."""
    file.unlink(missing_ok=True)
    try:
        with file.open("xb") as stream:
            yield stream
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(file, size) from error
        raise


class _Plain:
    """What numpy does not take for a file of the system: its own writes to these fail without the system's number."""

    def __init__(self, stream: BinaryIO) -> None:
        self.write = stream.write


def _plain(stream: BinaryIO) -> BinaryIO:
    return cast("BinaryIO", _Plain(stream))
