"""Which owners of leases are alive: each holds a lock on a file, which the system lets go when its process ends."""

from __future__ import annotations

import hashlib
from pathlib import Path

from filelock import FileLock, Timeout


class OwnerLocks:
    """The locks of owners, each a file in one folder.

    An owner lives in the process that acquired its lock, until that process calls :meth:`release_all` or ends, however
    it ends: so the leases of a killed driver are free at once.

    Args:
        folder: Where the files lie; created with the first owner.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._acquired: dict[str, FileLock] = {}

    def acquire(self, owner: str) -> None:
        """Let an owner live in this process; nothing happens when it does already.

        Raises:
            ValueError: Another process has an owner of this name.
        """
        if owner not in self._acquired:
            self._folder.mkdir(exist_ok=True)
            lock = self._lock(owner)
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                raise ValueError(f"owner {owner!r} lives in another process") from error
            self._acquired[owner] = lock

    def is_alive(self, owner: str) -> bool:
        """Say whether an owner lives, in this process or another."""
        if owner in self._acquired:
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

    def release_all(self) -> None:
        """End the owners of this process."""
        for lock in self._acquired.values():
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()
        self._acquired.clear()

    def _lock(self, owner: str) -> FileLock:
        name = hashlib.sha256(owner.encode()).hexdigest()[:20]
        return FileLock(self._folder / name, thread_local=False)
