"""Files made once and shared by name of content: decoded datasets, pre-trained weights, frozen features."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from tlbench.core.errors import UserError
from tlbench.core.paths import expand
from tlbench.store.atomic_write import remove_drafts, write_folder
from tlbench.store.disk_space import disk_full, is_disk_full


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

    def get(self, kind: str, key: str, build: Callable[[Path], object]) -> Path:
        """Return the artifact's folder; when it is missing, call ``build(folder)`` to fill a new one.

        Several processes may ask at the same moment: one builds, the others wait for it.

        Raises:
            UserError: The disk is full; nothing half-made is left behind.
            OSError: The disk is not writable; nothing half-made is left behind.
        """
        final = self.path(kind, key)
        if final.is_dir():
            return final
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(final.parent / f".{key}.lock"):
                if final.is_dir():
                    return final
                remove_drafts(final)
                return write_folder(final, build)
        except UserError:
            raise
        except Exception as error:  # libraries that write files themselves have errors of their own
            if is_disk_full(error):
                raise disk_full(final) from error
            raise


def artifact_folder(default: Path | str) -> Path:
    """Return this machine's artifact folder: ``$TLBENCH_ARTIFACTS`` where it is set, else the default.

    Args:
        default: The folder that the workspace, or the driver of a cluster, names for all machines.
    """
    own = os.environ.get("TLBENCH_ARTIFACTS")
    return expand(own).absolute() if own else Path(default)
