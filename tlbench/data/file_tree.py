"""Lists and reads the files of a folder or of a zip of it, alike, without unpacking anything."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import unicodedata
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tlbench.core.errors import UserError
from tlbench.core.hashing import digest
from tlbench.core.paths import is_utf8, kind_of_file, readable
from tlbench.data.file_marks import content_hash, sample, stamp

MAX_BYTES = 256 * 2**20
_DEPTH = 6
_STRAY = {  # what desktops, NAS and tools leave behind, in small letters; hidden names begin with a dot
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r"),
    *("@eadir", "@tmp", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "lost+found"),
    "__pycache__",
}
_SHOWN = 3
_UTF8 = 0x800  # the flag of a zip's member whose name is in UTF-8


@dataclass(frozen=True, order=True)
class Entry:
    r"""A file.

    Attributes:
        parts: Its names from the root down in Unicode's composed form, other bytes than UTF-8 as ``\xef``.
        location: What opens it: a path, or a name in the zip.
        size: Bytes, unpacked.
        stamp: What changes when it is replaced (:func:`tlbench.data.file_marks.stamp`), or the zip's checksum of it.
    """

    parts: tuple[str, ...]
    location: str
    size: int
    stamp: tuple[int, ...]

    @property
    def name(self) -> str:
        """The path from the root, for messages: on one line, and without signs that turn it around."""
        return _on_one_line("/".join(self.parts))


class Tree:
    """An opened folder or zip.

    Args:
        path: The folder or zip file.

    Attributes:
        files: All files, sorted by their parts; hidden ones and those that desktops leave behind are passed over.
        folders: All folders below the root, as parts.
        passed_over: What was passed over, as parts; of a folder, only itself.
        guessed: Names in a zip whose characters may be others: it does not say in what they are written.
        respelt: Folders, as parts, that stand there in two spellings of Unicode and are read as one.

    Raises:
        UserError: The path is neither, a pipe or device lies among the files, the zip is damaged, names paths outside
            itself or a file twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self.folders: set[tuple[str, ...]] = set()
        self.passed_over: set[tuple[str, ...]] = set()
        self.respelt: set[tuple[str, ...]] = set()
        self.guessed: set[tuple[str, ...]] = set()
        self._raw: dict[tuple[str, ...], str] = {}  # names of folders as the disk or the zip has them first
        kind = kind_of_file(path)
        if kind == "a folder":
            files = list(self._walk(path, (), ()))
        elif kind == "a file":
            files = list(self._members())
        elif not kind:
            raise UserError(f"{path}: there is no such folder or zip file", "path is relative to the suite file")
        else:
            raise UserError(f"{path}: is {kind}, not a folder or zip file", "give a folder, or a .zip of one")
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
        except UserError:
            raise
        except Exception as error:  # the decompressors of a zip raise what they like
            reason = str(error) or type(error).__name__
            raise UserError(f"{self.path}: {entry.name} cannot be read: {reason}", _hint(error)) from error
        if len(data) > MAX_BYTES:
            raise self._too_large(entry)
        return data

    def notes(self) -> Iterator[str]:
        """Yield what was passed over, read as one, or is shown otherwise, for readers of the results."""
        unreadable = [parts for parts, name in self._raw.items() if not is_utf8(name)]
        if self.passed_over:
            yield f"passed over, as left behind by other programs or hidden: {_listed(self.passed_over)}"
        if self.respelt:
            yield f"folders whose names are spelt in two ways in Unicode, read as one each: {_listed(self.respelt)}"
        if self.guessed:
            yield f"names in the zip that are not UTF-8, read as code page 437: {_listed(self.guessed)}"
        if unreadable:
            yield f"folders whose names are not UTF-8, shown with the numbers of their bytes: {_listed(unreadable)}"

    def mark(self) -> Any:
        """Return, as a JSON-like value, what differs when any file has changed; reads a little of their content only.

        Raises:
            UserError: A file cannot be read.
        """
        try:
            if self._zip is None:
                some = sample([(entry.location, entry.size) for entry in self.files])
                whole: tuple[int, ...] = ()
            else:
                facts = self.path.stat()
                some, whole = sample([(str(self.path), facts.st_size)]), (facts.st_size, *stamp(facts))
        except OSError as error:
            raise UserError(f"{error.filename or self.path}: {error.strerror}") from error
        return [self._names([[entry.size, *entry.stamp] for entry in self.files]), *whole, some]

    def content(self) -> Any:
        """Return, as a JSON-like value, what differs when the content of any file does, and in nothing else.

        Raises:
            UserError: A file cannot be read.
        """
        if self._zip is not None:
            return [self._names([]), content_hash(self.path)]
        return self._names([hashlib.sha256(self.read(entry)).hexdigest() for entry in self.files])

    def _names(self, facts: list[Any]) -> str:
        """Return the hash of all names and notes with a fact of each file."""
        names = [list(entry.parts) for entry in self.files]
        return digest([names, facts, sorted(map(list, self.folders)), list(self.notes())], length=32)

    def _name_of(self, member: zipfile.ZipInfo) -> str:
        """Return a member's name: macOS and others write UTF-8 without saying so, old programs in one of many pages."""
        if member.flag_bits & _UTF8 or member.filename.isascii():
            return member.filename
        try:
            return member.filename.encode("cp437").decode()
        except UnicodeError:
            self.guessed.add((member.filename,))
            return member.filename

    def _too_large(self, entry: Entry) -> UserError:
        return UserError(f"{self.path}: {entry.name} is larger than {MAX_BYTES // 2**20} MiB")

    def _walk(self, folder: Path, parts: tuple[str, ...], above: tuple[tuple[int, int], ...]) -> Iterator[Entry]:
        if len(parts) > _DEPTH:
            shown = _on_one_line("/".join(parts))
            raise UserError(f"{self.path}: folders lie deeper than {_DEPTH} levels: {shown}", "move them up or out")
        try:
            facts = folder.stat()
            own = (facts.st_dev, facts.st_ino)
            if own in above:
                raise UserError(f"{self.path}: {'/'.join(parts)} is a link to a folder that it lies in", "remove it")
            with os.scandir(folder) as listing:
                items = sorted(listing, key=lambda item: item.name)
            for item in items:
                here = (*parts, _composed(item.name))
                if _is_stray(item.name):
                    self.passed_over.add(here)
                    continue
                facts = _facts(item)
                if stat.S_ISDIR(facts.st_mode):
                    if here in self.folders and not any(here[:depth] in self.respelt for depth in range(len(here))):
                        self._read_as_one(here, item.name)
                    self.folders.add(here)
                    self._raw.setdefault(here, item.name)
                    yield from self._walk(Path(item.path), here, (*above, own))
                else:
                    if not stat.S_ISREG(facts.st_mode):
                        kind = kind_of_file(Path(item.path))
                        raise UserError(f"{self.path}: {'/'.join(here)} is no file but {kind}", "move it out")
                    yield Entry(here, item.path, facts.st_size, stamp(facts))
        except OSError as error:
            raise UserError(f"{readable(str(error.filename or folder))}: {error.strerror}") from error

    def _members(self) -> Iterator[Entry]:
        try:
            self._zip = zipfile.ZipFile(self.path)
        except Exception as error:  # what stands in the directory of a damaged one is read by many parsers
            reason = str(error) or type(error).__name__
            raise UserError(f"{self.path}: not a zip file: {reason}", "give a folder, or a .zip of one") from error
        spelt: dict[tuple[str, ...], list[str]] = {}  # of each folder, as it stands in the zip first
        seen: set[str] = set()
        for member in self._zip.infolist():
            names = self._name_of(member).rstrip("/").split("/")
            if member.filename.startswith("/") or "\\" in member.filename or not {"", ".", ".."}.isdisjoint(names):
                what = "names a place outside itself" if _leads_out(member.filename) else "holds a name that is no path"
                raise UserError(f"{self.path}: the zip {what}: {member.filename!r}", "pack the folder anew")
            stray = next((place for place, name in enumerate(names) if _is_stray(name)), None)
            if stray is not None:
                self.passed_over.add(tuple(names[: stray + 1]))
                continue
            if len(names) > _DEPTH + 1:
                raise UserError(f"{self.path}: folders lie deeper than {_DEPTH} levels: {member.filename}")
            here = tuple(map(_composed, names))
            for depth in range(1, len(here) + member.is_dir()):
                if spelt.setdefault(here[:depth], names[:depth])[-1] != names[depth - 1]:
                    self.respelt.add(here[:depth])
            if not member.is_dir():
                if member.filename in seen:
                    raise UserError(f"{self.path}: the zip holds two files called {member.filename}", "pack it anew")
                seen.add(member.filename)
                yield Entry(here, member.filename, member.file_size, (member.CRC,))
        self.folders.update(spelt)

    def _read_as_one(self, here: tuple[str, ...], name: str) -> None:
        """Take a second folder of one name for the same, if Unicode alone tells them apart.

        Raises:
            UserError: The name of one of them is not UTF-8, and that of the other what it is shown as.
        """
        if is_utf8(name) != is_utf8(self._raw.get(here, "")):
            raise UserError(
                f"{self.path}: two folders are called {'/'.join(here)}, one in bytes that are not UTF-8",
                "rename one of them",
            )
        self.respelt.add(here)


def _facts(item: os.DirEntry[str]) -> os.stat_result:
    """Return the facts of a file, or of what a link leads to.

    Raises:
        UserError: The link leads nowhere.
        OSError: It cannot be looked at for another reason.
    """
    try:
        return item.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP) or not item.is_symlink():
            raise
        where = "back to itself" if error.errno == errno.ELOOP else f"to {Path(item.path).readlink()}, where nothing is"
        raise UserError(f"{readable(item.path)} is a link {where}", "remove it, or put the file there") from error


def _on_one_line(name: str) -> str:
    """Return a name for messages, with the signs escaped that end a line or turn the direction of writing."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in name)


def _leads_out(name: str) -> bool:
    return name.startswith("/") or "\\" in name or ".." in name.split("/")


def _listed(found: Collection[tuple[str, ...]]) -> str:
    names = [_on_one_line("/".join(parts)) for parts in sorted(found)]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _hint(error: Exception) -> str:
    """Return what to do where a file of a zip cannot be read."""
    if isinstance(error, RuntimeError):  # NotImplementedError, of a method of packing, is one
        return "unpack the zip, and give the folder"
    return "" if isinstance(error, OSError) else "the zip is damaged: copy or pack it anew"


def _is_stray(name: str) -> bool:
    return name.startswith(".") or name.lower() in _STRAY


def _composed(name: str) -> str:
    """Return a name in Unicode's composed form, so that systems agree on it, and as it can be stored."""
    return readable(name) if name.isascii() else unicodedata.normalize("NFC", readable(name))
