"""Mutants of the docstrings: what would let test texts, or names of the answer, into training."""

from __future__ import annotations

from mutant import Mutant

PYDOCS, DOCSTRINGS = "tlbench.data.sources.pydocs", "tlbench.data.docstrings"
TEXTS, LIBRARY = "tlbench.data.docstring_texts", "tlbench.data.python_library"
TESTS = "tests/data/test_pydocs.py"

MUTANTS = (
    Mutant(
        "pydocs: docstrings of one file on both sides",
        f"{PYDOCS}:_rows",
        "name in test_files",
        "len(text) % 5 == 0",
        f"{TESTS}::test_no_file_has_docstrings_on_both_sides",
    ),
    Mutant(
        "pydocs: duplicates on both sides",
        f"{PYDOCS}:_rows",
        "comparison_key(text) not in seen",
        "(mark := (comparison_key(text), name in test_files)) not in seen and not seen.add(mark)",
        f"{TESTS}::test_what_stands_on_both_sides_stays_for_testing",
    ),
    Mutant(
        "pydocs: duplicates that differ in case",
        f"{TEXTS}:comparison_key",
        '" ".join(words(text))',
        "text",
        f"{TESTS}::test_no_text_stands_twice",
    ),
    Mutant(
        "pydocs: training keeps what testing loses",
        f"{PYDOCS}:_rows",
        "name not in test_files",
        "name in test_files",
        f"{TESTS}::test_what_stands_on_both_sides_stays_for_testing",
    ),
    Mutant(
        "pydocs: names unmasked",
        f"{TEXTS}:make_mask",
        're.sub(r"\\w+(?:\\.\\w+)*", masked, text)',
        'text or re.sub(r"\\w+(?:\\.\\w+)*", masked, text)',
        f"{TESTS}::test_no_text_names_a_package_or_a_telling_module",
    ),
    Mutant(
        "pydocs: names masked in small letters only",
        f"{TEXTS}:make_mask.masked",
        "word.lower()",
        "word",
        f"{TESTS}::test_masks_cover_words_dots_and_telling_modules",
    ),
    Mutant(
        "pydocs: modules unmasked",
        f"{TEXTS}:make_mask.masked",
        "MASK if len(packages_using.get(low, ())) == 1 else word",
        "word",
        f"{TESTS}::test_no_text_names_a_package_or_a_telling_module",
    ),
    Mutant(
        "pydocs: the corpus trains on the files for testing",
        f"{PYDOCS}:decode",
        "_rows(_passages(texts, test_files), test_files)",
        "_rows(_passages(texts, test_files), frozenset())",
        f"{TESTS}::test_the_corpus_never_trains_on_a_test_text",
    ),
    Mutant(
        "pydocs: the corpus trains on paragraphs for testing",
        f"{PYDOCS}:_passages.cut",
        "name in test_files or comparison_key(p) not in sealed",
        "True",
        f"{TESTS}::test_a_paragraph_for_testing_is_cut_out_of_the_corpus",
    ),
    Mutant(
        "pydocs: test suites are read",
        f"{DOCSTRINGS}:_TESTS",
        '("test", "tests", "idle_test")',
        "",
        f"{TESTS}::test_short_texts_and_test_suites_are_left_out",
    ),
    Mutant(
        "pydocs: unreadable files are not named",
        f"{LIBRARY}:read_texts",
        "unreadable.append(name)",
        "pass",
        f"{TESTS}::test_unreadable_files_are_skipped_and_named",
    ),
    Mutant(
        "pydocs: missing packages are not named",
        f"{PYDOCS}:_warnings",
        "[package for package in PACKAGES if package not in packages]",
        "[]",
        f"{TESTS}::test_missing_packages_are_named_and_too_few_refused",
    ),
    Mutant(
        "pydocs: files by the hash of this process",
        f"{PYDOCS}:_fill",
        'derive_seed("pydocs", order, name)',
        "hash((order, name))",
        f"{TESTS}::test_decoding_imports_nothing_and_is_the_same_in_another_process",
    ),
)
