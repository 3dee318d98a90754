"""Files made once and shared by name of content: decoded datasets, pre-trained weights, frozen features."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock


class Artifacts:
    """A folder of finished folders, ``root/kind/key/``, each built exactly once.

    A build happens in a temporary folder beside its final place, under a lock that dies with its process, and is
    renamed when it is complete and on disk. So a reader sees a whole artifact or none, however builders are killed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def path(self, kind: str, key: str) -> Path:
        """Return the folder of an artifact, whether it exists or not."""
        return self.root / kind / key

    def has(self, kind: str, key: str) -> bool:
        """Say whether the artifact is there, complete."""
        return self.path(kind, key).is_dir()

    def get(self, kind: str, key: str, build: Callable[[Path], None]) -> Path:
        """Return the artifact's folder; when it is missing, call ``build(folder)`` to fill a new one.

        Several processes may ask at the same moment: one builds, the others wait for it.

        Raises:
            OSError: The disk is full or not writable; nothing half-made is left behind.
        """
        final = self.path(kind, key)
        if final.is_dir():
            return final
        final.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(final.parent / f".{key}.lock"):
            if final.is_dir():
                return final
            for stale in final.parent.glob(f".{key}.tmp-*"):
                shutil.rmtree(stale, ignore_errors=True)
            draft = final.parent / f".{key}.tmp-{uuid.uuid4().hex[:8]}"
            draft.mkdir()
            try:
                build(draft)
                _flush(draft)
                draft.rename(final)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
        return final


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _flush(folder: Path) -> None:
    for path in [*_files(folder), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
