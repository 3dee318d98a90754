"""Lists and reads the files of a folder or of a zip of it, alike, without unpacking anything."""

from __future__ import annotations

import os
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tlbench.core.errors import UserError

MAX_BYTES = 256 * 2**20
_DEPTH = 6
_STRAY = ("Thumbs.db", "desktop.ini", "__MACOSX")


@dataclass(frozen=True, order=True)
class Entry:
    """A file.

    Attributes:
        parts: Its names from the root down, in Unicode's composed form, so that systems agree on them.
        location: What opens it: a path, or a name in the zip.
        size: Bytes, unpacked.
        stamp: When it changed: nanoseconds, or the zip's checksum of it.
    """

    parts: tuple[str, ...]
    location: str
    size: int
    stamp: int

    @property
    def name(self) -> str:
        """The path from the root, for messages."""
        return "/".join(self.parts)


class Tree:
    """An opened folder or zip.

    Args:
        path: The folder or zip file.

    Attributes:
        files: All files, sorted by their parts; hidden ones and those that desktops leave behind are passed over.
        folders: All folders below the root, as parts.

    Raises:
        UserError: The path is neither, the zip is damaged or names paths outside itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self.folders: set[tuple[str, ...]] = set()
        if path.is_dir():
            files = list(self._walk(path, ()))
        elif path.is_file():
            files = list(self._members())
        else:
            raise UserError(f"{path}: there is no such folder or zip file", "path is relative to the suite file")
        self.files = sorted(files)

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._zip is not None:
            self._zip.close()

    def read(self, entry: Entry) -> bytes:
        """Return a file's content; safe to call from several threads.

        Raises:
            UserError: It cannot be read, or is larger than an image may be.
        """
        try:
            if self._zip is None:
                if entry.size > MAX_BYTES:
                    raise self._too_large(entry)
                return Path(entry.location).read_bytes()
            # A zip may lie about sizes: never unpack more than the limit.
            with self._zip.open(entry.location) as stream:
                data = stream.read(MAX_BYTES + 1)
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise UserError(f"{self.path}: {entry.name} cannot be read: {error}") from error
        if len(data) > MAX_BYTES:
            raise self._too_large(entry)
        return data

    def _too_large(self, entry: Entry) -> UserError:
        return UserError(f"{self.path}: {entry.name} is larger than {MAX_BYTES // 2**20} MiB")

    def _walk(self, folder: Path, parts: tuple[str, ...]) -> Iterator[Entry]:
        if len(parts) > _DEPTH:  # also ends circles of links
            raise UserError(f"{self.path}: folders lie deeper than {_DEPTH} levels: {'/'.join(parts)}")
        try:
            with os.scandir(folder) as listing:
                items = sorted(listing, key=lambda item: item.name)
            for item in items:
                here = (*parts, unicodedata.normalize("NFC", item.name))
                if _is_stray(item.name):
                    continue
                if item.is_dir():
                    self.folders.add(here)
                    yield from self._walk(Path(item.path), here)
                else:
                    facts = item.stat()
                    yield Entry(here, item.path, facts.st_size, facts.st_mtime_ns)
        except OSError as error:
            raise UserError(f"{error.filename or folder}: {error.strerror}") from error

    def _members(self) -> Iterator[Entry]:
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f"{self.path}: not a zip file: {error}", "give a folder, or a .zip of one") from error
        for member in self._zip.infolist():
            names = member.filename.rstrip("/").split("/")
            if member.filename.startswith("/") or "\\" in member.filename or not {"", ".", ".."}.isdisjoint(names):
                raise UserError(f"{self.path}: the zip names a place outside itself: {member.filename!r}")
            if any(map(_is_stray, names)):
                continue
            if len(names) > _DEPTH + 1:
                raise UserError(f"{self.path}: folders lie deeper than {_DEPTH} levels: {member.filename}")
            here = tuple(unicodedata.normalize("NFC", name) for name in names)
            inner = here if member.is_dir() else here[:-1]
            self.folders.update(inner[:depth] for depth in range(1, len(inner) + 1))
            if not member.is_dir():
                yield Entry(here, member.filename, member.file_size, member.CRC)


def _is_stray(name: str) -> bool:
    return name.startswith(".") or name in _STRAY
