"""Freed memory stays with the process: the same block again costs no page fault."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from tlbench.worker.memory_allocator import keep_freed_memory

FAULTS = """
import ctypes, resource, sys
from tlbench.worker.memory_allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p

def touch(size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = ctypes.c_void_p(library.malloc(size))
    for place in range(0, size, 4096):
        ctypes.memset(block.value + place, 1, 1)
    library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

size = 2**26
touch(size)
print(touch(size), touch(size // 2))
"""


def _faults(how: str) -> list[int]:
    found = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return [int(count) for count in found.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_block_that_was_freed_is_used_again_without_a_fault() -> None:
    assert max(_faults("kept")) < 100
    assert _faults("given back")[0] > 0


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("a library was loaded"))
    assert keep_freed_memory() is False
