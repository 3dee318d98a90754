"""Keeps the C library from returning memory to the system after every large tensor."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's numbers for the options of mallopt
_LIMIT = 2**30  # bytes


def keep_freed_memory() -> bool:
    """Let this process reuse freed blocks of up to a gibibyte; return whether that could be set.

    By default glibc maps blocks beyond some megabytes anew each time, so that every step of a training pays the page
    faults of touching them for the first time. Other C libraries are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all(library.mallopt(option, _LIMIT) == 1 for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
