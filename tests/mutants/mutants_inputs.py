"""Defects of reading what people feed in: disks that fill up, data that change, names, weight files, damaged images."""

from __future__ import annotations

from mutant import Mutant

DISK = "tests/store/test_disk_space.py"

MUTANTS = [
    Mutant(
        "disk: mapped arrays have holes",
        "tlbench.store.array_files:create_array",
        "reserve(stream, size)",
        "stream.truncate(stream.tell() + size)",
        f"{DISK}::test_a_mapped_array_is_zero_and_takes_its_blocks_at_once",
    ),
    Mutant(
        "disk: what cannot be reserved is not written",
        "tlbench.store.disk_space:reserve",
        "stream.write(bytes(min(_CHUNK, size - place)))",
        "stream.truncate(start + size)",
        f"{DISK}::test_zeros_are_written_where_blocks_cannot_be_reserved",
    ),
    Mutant(
        "disk: zeros stay before the array",
        "tlbench.store.disk_space:reserve",
        "stream.seek(start)",
        "",
        f"{DISK}::test_zeros_are_written_where_blocks_cannot_be_reserved",
    ),
    Mutant(
        "disk: quotas are no full disks",
        "tlbench.store.disk_space:_FULL",
        "errno.EDQUOT",
        "",
        f"{DISK}::test_a_full_disk_is_named_with_what_is_missing",
    ),
    Mutant(
        "disk: what is needed is called missing",
        "tlbench.store.disk_space:disk_full",
        "_bytes(size - free)",
        "_bytes(size)",
        f"{DISK}::test_a_full_disk_is_named_with_what_is_missing",
    ),
    Mutant(
        "disk: libraries' errors stay their own",
        "tlbench.store.artifacts:Artifacts.get",
        "is_disk_full(error)",
        "isinstance(error, OSError)",
        f"{DISK}::test_any_writer_of_an_artifact_may_find_the_disk_full",
    ),
    Mutant(
        "disk: a full disk has no name of a file",
        "tlbench.store.atomic_write:_named_errors",
        "raise OSError(error.errno, error.strerror, str(path)) from error",
        "raise",
        f"{DISK}::test_an_error_while_writing_names_the_file",
    ),
]
