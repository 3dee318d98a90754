"""How a changed file is noticed: by facts that cost nothing at every opening, by its content where these are new.

Sizes and times of modification are no proof: archives, mirrors and images of containers restore both. No tool sets the
time of change and the number of the inode, but not every file system has them; so some of the content is read, too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

_SAMPLES = 64  # pieces that are read of a set of files
_PIECE = 4096  # bytes of each, and from the end of the file as many


def stamp(facts: os.stat_result) -> tuple[int, ...]:
    """Return what changes when a file is replaced: times of modification and change in nanoseconds, and the inode."""
    return facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino


def sample(files: Sequence[tuple[str, int]]) -> str:
    """Return the hash of a little of the content of files: the same pieces whenever it is asked.

    Args:
        files: Path and size of each. Pieces are spread over them; of a few files each gets several.

    Raises:
        OSError: A file cannot be read.
    """
    seen = hashlib.sha256()
    for path, size in files[:: max(1, -(-len(files) // _SAMPLES))]:
        pieces = max(2, _SAMPLES // len(files))
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123  # as it is listed, whatever its name
            last = max(0, size - _PIECE)
            for place in sorted({last * number // (pieces - 1) for number in range(pieces)}):
                seen.update(os.pread(stream.fileno(), _PIECE, place))
    return seen.hexdigest()[:32]


def content_hash(file: Path) -> str:
    """Return the hash of all of a file.

    Raises:
        OSError: It cannot be read.
    """
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
