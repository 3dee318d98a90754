"""Defects of reading what people feed in: disks that fill up, data that change, names, weight files, damaged images."""

from __future__ import annotations

from mutant import Mutant

DISK = "tests/store/test_disk_space.py"
CHANGED, NAMES = "tests/data/test_changed_data.py", "tests/data/test_file_names.py"

TREE, IN_TREES = "tlbench.data.file_tree:Tree", "tests/data/test_names_in_trees.py"

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
    Mutant(
        "content: times of change are not looked at",
        "tlbench.data.file_marks:stamp",
        "facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino",
        "facts.st_mtime_ns, 0, 0",
        f"{CHANGED}::test_a_file_written_over_in_place_is_noticed",
    ),
    Mutant(
        "content: a table is known by its size",
        "tlbench.data.sources.texts:signature",
        "content_hash(path)",
        "path.stat().st_size",
        f"{CHANGED}::test_other_content_of_the_same_names_sizes_and_times_is_noticed",
    ),
    Mutant(
        "content: nothing is sampled",
        "tlbench.data.file_marks:sample",
        "seen.update(os.pread(stream.fileno(), _PIECE, place))",
        "",
        f"{CHANGED}::test_content_is_noticed_where_a_file_system_keeps_no_times_of_change",
    ),
    Mutant(
        "content: the middle of a large file is not sampled",
        "tlbench.data.file_marks:sample",
        "max(2, _SAMPLES // len(files))",
        "2",
        f"{CHANGED}::test_a_sample_has_pieces_of_all_of_a_few_files_and_of_some_of_many",
    ),
    Mutant(
        "content: copies are decoded again",
        "tlbench.data.catalog:_open_source",
        "isinstance(code, HashedSource)",
        "False",
        f"{CHANGED}::test_copied_and_touched_files_are_read_but_not_decoded_again",
    ),
    Mutant(
        "content: all is read at every opening",
        "tlbench.data.catalog:_open_source",
        "opener.content_once([source.name, own, mark], lambda: unchanged(code.content(settings)))",
        "code.content(settings)",
        f"{CHANGED}::test_unchanged_files_are_not_read_a_second_time",
    ),
    Mutant(
        "content: files may change while they are read",
        "tlbench.data.catalog:_open_source.unchanged",
        "code.signature(settings) != mark",
        "False",
        f"{CHANGED}::test_files_that_change_while_they_are_read_are_refused",
    ),
    Mutant(
        "content: names alone decide",
        "tlbench.data.file_tree:Tree.content",
        "hashlib.sha256(self.read(entry)).hexdigest()",
        "entry.size",
        f"{CHANGED}::test_other_content_of_the_same_names_sizes_and_times_is_noticed",
    ),
    Mutant(
        "content: strays that come later are not noted",
        "tlbench.data.file_tree:Tree._names",
        "list(self.notes())",
        "[]",
        f"{CHANGED}::test_strays_that_come_later_are_noted",
    ),
    Mutant(
        "names: bytes that are not UTF-8 stay halves of characters",
        "tlbench.core.paths:readable",
        'name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")',
        "name",
        f"{NAMES}::test_a_class_with_such_a_name_is_readable_and_noted",
    ),
    Mutant(
        "names: two folders become one class",
        "tlbench.data.file_tree:Tree._read_as_one",
        'is_utf8(name) != is_utf8(self._raw.get(here, ""))',
        "False",
        f"{NAMES}::test_two_folders_are_never_taken_for_one",
    ),
    Mutant(
        "names: halves of characters have no hash",
        "tlbench.core.hashing:digest",
        'canonical(value).encode("utf-8", "surrogatepass")',
        "canonical(value).encode()",
        f"{NAMES}::test_names_are_shown_with_the_numbers_of_their_bytes",
    ),
    Mutant(
        "names: a link leads to a path that is not UTF-8",
        "tlbench.data.catalog:_with_absolute_paths",
        "check_utf8((base / expand(value, base)).resolve())",
        "(base / expand(value, base)).resolve()",
        f"{NAMES}::test_paths_of_suites_data_and_workspaces_are_refused_with_their_name",
    ),
    Mutant(
        "names: a zip's file that stands twice is read twice",
        f"{TREE}._members",
        "member.filename in seen",
        "False",
        f"{IN_TREES}::test_a_zip_with_a_file_twice_is_refused",
    ),
    Mutant(
        "names: UTF-8 in zips is not tried",
        f"{TREE}._name_of",
        'member.filename.encode("cp437").decode()',
        'member.filename.encode("cp437").decode("cp437")',
        f"{IN_TREES}::test_names_in_utf8_are_read_so_where_the_zip_does_not_say_it",
    ),
    Mutant(
        "names: a guessed page is not told of",
        f"{TREE}._name_of",
        "self.guessed.add((member.filename,))",
        "",
        f"{IN_TREES}::test_names_in_an_old_page_are_told_of",
    ),
    Mutant(
        "names: two spellings in a zip are one without a note",
        f"{TREE}._members",
        "self.respelt.add(here[:depth])",
        "",
        f"{IN_TREES}::test_folders_that_differ_by_unicode_form_are_one_class_with_a_note",
    ),
    Mutant(
        "names: blanks around a label are left out without a note",
        "tlbench.data.sources.texts:_respelt",
        "count > 1",
        "count > 2",
        "tests/data/test_text_columns.py::test_blanks_around_a_label_are_left_out_and_told_of_where_it_also_stands_without",
    ),
    Mutant(
        "suites: pipes and devices are read",
        "tlbench.suite.yaml_source:_content",
        '("", "a file", "a folder")',
        "(kind,)",
        "tests/suite/test_yaml_source.py::test_files_that_cannot_be_read",
    ),
    Mutant(
        "suites: a file of any size is read",
        "tlbench.suite.yaml_source:_content",
        "len(content) > _MAX_BYTES",
        "False",
        "tests/suite/test_yaml_source.py::test_files_that_cannot_be_read",
    ),
    Mutant(
        "addresses: hosts that can be none go to MLflow",
        "tlbench.store.mlflow.tracking_uri:_refuse_impossible",
        "is_server(uri)",
        "False",
        "tests/cli/test_user_errors.py",
    ),
]
