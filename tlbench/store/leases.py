"""Says which owners of leases live: an owner holds a lock on a file, which its process cannot take to the grave."""

from __future__ import annotations

import hashlib
from pathlib import Path

from filelock import FileLock, Timeout


class Owners:
    """Owners of leases, each a locked file in one folder.

    The system lets go of a lock when its process ends, however it ends: a killed driver's cells are free at once.

    Args:
        folder: Where the files lie; made when the first owner comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mine: dict[str, FileLock] = {}

    def enter(self, owner: str) -> None:
        """Let an owner live in this process until :meth:`close`.

        Raises:
            ValueError: Another process has an owner of this name.
        """
        if owner not in self._mine:
            self._folder.mkdir(exist_ok=True)
            lock = self._lock(owner)
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                raise ValueError(f"owner {owner!r} lives in another process") from error
            self._mine[owner] = lock

    def lives(self, owner: str) -> bool:
        """Say whether an owner's process is there."""
        if owner in self._mine:
            return True
        lock = self._lock(owner)
        if not Path(lock.lock_file).exists():
            return False
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
        return False

    def close(self) -> None:
        """Let the owners of this process go."""
        for lock in self._mine.values():
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()
        self._mine.clear()

    def _lock(self, owner: str) -> FileLock:
        name = hashlib.sha256(owner.encode()).hexdigest()[:20]
        return FileLock(self._folder / name, thread_local=False)
