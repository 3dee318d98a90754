"""Writes files and folders so that a reader sees all of one or nothing, however the writer is killed.

What is written takes shape under a temporary name beside its final place, and is renamed once it is complete. The
temporary name of ``NAME`` begins with ``.NAME.tmp-``; a killed process leaves one behind.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

Content = str | bytes | Callable[[BinaryIO], object]
"""What a file shall hold: a text (written as UTF-8), bytes, or a function that writes into an open stream."""


def write_file(path: Path, content: Content, *, durable: bool = True) -> Path:
    """Write a file, in the place of one of that name.

    Args:
        path: Where; the folder exists.
        content: What it shall hold.
        durable: Whether to return only when the disk has the content, so that it survives a loss of power.

    Returns:
        The path.

    Raises:
        OSError: The disk is full or not writable; a file that was there stays as it was.
    """
    with _draft_file(path, content, durable) as draft:
        draft.replace(path)
    return path


def write_new_file(path: Path, content: Content) -> bool:
    """Write a file unless there is one of that name, and say whether this call wrote it.

    Of several processes that try at the same moment, one writes; all find its file there afterwards.

    Args:
        path: Where; the folder exists.
        content: What it shall hold.

    Raises:
        OSError: The disk is full or not writable.
    """
    with _draft_file(path, content, durable=True) as draft:
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
    return True


def write_folder(path: Path, fill: Callable[[Path], object]) -> Path:
    """Write a folder with all that is in it, durably.

    Args:
        path: Where; its parent exists, and no folder with content is there.
        fill: Called with the temporary folder, which is empty, and writes into it.

    Returns:
        The path.

    Raises:
        OSError: The disk is full or not writable, or the place is taken; nothing is left behind.
    """
    draft = _temporary(path)
    draft.mkdir()
    try:
        fill(draft)
        for inner in (*_files(draft), draft):
            with _descriptor(inner) as number:
                os.fsync(number)
        draft.rename(path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return path


def remove_drafts(path: Path) -> None:
    """Remove what killed processes left of a folder's drafts.

    Args:
        path: The final place; the caller makes sure that no process is writing it.
    """
    for draft in path.parent.glob(f".{path.name}.tmp-*"):
        shutil.rmtree(draft, ignore_errors=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp-{uuid.uuid4().hex[:8]}")


@contextmanager
def _draft_file(path: Path, content: Content, durable: bool) -> Iterator[Path]:
    """Write a temporary file; what is left of it is removed at the end."""
    draft = _temporary(path)
    try:
        with _named_errors(path), draft.open("xb") as stream:
            if callable(content):
                content(stream)
            else:
                stream.write(content.encode() if isinstance(content, str) else content)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        yield draft
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Put the file's name into errors of the system that have none: those of writing to an open file."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


@contextmanager
def _descriptor(path: Path) -> Iterator[int]:
    number = os.open(path, os.O_RDONLY)
    try:
        yield number
    finally:
        os.close(number)
