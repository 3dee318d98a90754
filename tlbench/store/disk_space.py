"""Room on a disk: taken before it is written to, and a sentence that says how much is missing where there is none.

A file that is mapped into memory gets its blocks when its pages are first written. A disk that fills up then ends the
process by a signal, without a word, so the blocks are taken first.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

from tlbench.core.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV)
_CHUNK = 2**20


def reserve(stream: BinaryIO, size: int) -> None:
    """Take the blocks of the next bytes of a new file, which are zero then; the place in the file stays.

    Where the file system cannot do so, zeros are written.

    Args:
        stream: An unbuffered or flushed file, open for writing, at its end.
        size: Bytes.

    Raises:
        OSError: The disk is full, or another limit is reached.
    """
    if size <= 0:
        return
    start = stream.tell()
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(stream.fileno(), start, size)
            return
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
    for place in range(0, size, _CHUNK):
        stream.write(bytes(min(_CHUNK, size - place)))
    stream.flush()
    stream.seek(start)


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error, or one that it came from, says that a disk or a quota is full.

    Libraries that write files themselves say so in words alone.
    """
    seen: BaseException | None = error
    while seen is not None:
        if getattr(seen, "errno", None) in _FULL or any(os.strerror(code) in str(seen) for code in _FULL):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def disk_full(path: Path, size: int = 0) -> UserError:
    """Return the error that names the full disk on which a path lies, and what is missing on it.

    Args:
        path: What was to be written; it need not be there.
        size: Bytes that it takes; 0 where that is not known.
    """
    place = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    disk = next(folder for folder in (place, *place.parents) if folder.is_mount())
    facts = os.statvfs(place)
    free = facts.f_bavail * facts.f_frsize
    if facts.f_files and not facts.f_favail:
        what = "it has no room for another file"
    elif size > free:
        what = f"{_bytes(size)} are needed and {_bytes(free)} are free, so {_bytes(size - free)} are missing"
    else:
        needed = f"{_bytes(size)} are refused" if size else "more is refused"
        what = f"{needed}, with {_bytes(free)} free" + (": a quota, or a limit on the size of files?" if free else "")
    return UserError(
        f"the disk mounted at {disk} is full: {what}",
        "make room there, or put the workspace on another disk (decoded data and weights alone: TLBENCH_ARTIFACTS)",
    )


def _bytes(number: int) -> str:
    size, unit = float(number), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{number} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
