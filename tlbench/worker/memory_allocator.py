"""Keeps the C library from handing memory back to the system after every large tensor."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's numbers for the options of mallopt
_KEPT = 2**30  # bytes


def keep_memory() -> bool:
    """Let this process keep freed blocks of up to a gibibyte for what comes next; return whether that could be set.

    By itself glibc maps blocks beyond some megabytes anew each time, so that every step of a training pays for the
    faults of touching its pages first. Other C libraries are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all(library.mallopt(option, _KEPT) == 1 for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
