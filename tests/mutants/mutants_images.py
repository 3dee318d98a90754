"""Defects of decoding: exceptions, warnings and messages of Pillow's decoders, and names of data in shared cells."""

from __future__ import annotations

from mutant import Mutant

DECODING = "tlbench.data.image_decoding"
TESTS = "tests/data/test_damaged_images.py"

MUTANTS = [
    Mutant(
        "images: decoders raise what they like",
        f"{DECODING}:_identified",
        "Exception",
        "(OSError, SyntaxError, ValueError)",
        f"{TESTS}::test_an_exception_of_any_decoder_names_the_file",
        nth=1,
    ),
    Mutant(
        "images: programs are drawn",
        f"{DECODING}:_identified",
        "image.format in _DRAWN",
        "False",
        f"{TESTS}::test_sound_files_of_every_format_are_read_or_refused_by_their_format",
    ),
    Mutant(
        "images: the first thread to end lets warnings out",
        f"{DECODING}:_Quiet.__exit__",
        "not self._inside",
        "True",
        f"{TESTS}::test_warnings_are_held_back_in_all_threads_and_heard_afterwards",
    ),
    Mutant(
        "images: warnings are let out",
        f"{DECODING}:_Quiet.__enter__",
        'warnings.simplefilter("ignore")',
        "",
        f"{TESTS}::test_warnings_are_held_back_in_all_threads_and_heard_afterwards",
    ),
    Mutant(
        "images: warnings stay held back",
        f"{DECODING}:_Quiet.__exit__",
        "self._filters.__exit__(None, None, None)",
        "",
        f"{TESTS}::test_warnings_are_held_back_in_all_threads_and_heard_afterwards",
    ),
    Mutant(
        "images: libtiff prints",
        f"{DECODING}:_silence_libtiff",
        "library.TIFFSetErrorHandler(None)",
        "",
        f"{TESTS}::test_damaged_files_are_read_or_refused_by_name",
    ),
    Mutant(
        "report: cells keep the name that another suite has for their data",
        "tlbench.report.results:_called_as_planned.called",
        "fingerprint not in names",
        "True",
        "tests/report/test_planned.py::test_the_same_data_in_another_folder_are_called_as_the_suite_calls_them",
    ),
    Mutant(
        "splits: names that others use are domains",
        "tlbench.data.split_names:resembles_split",
        "word.lower() in _DOUBTFUL",
        "False",
        "tests/data/test_split_names.py::test_what_may_be_a_split_is_asked_about_and_read_as_the_suite_says",
    ),
    Mutant(
        "splits: trainA and TestSet are domains",
        "tlbench.data.split_names:resembles_split",
        "_ALIKE.fullmatch(word.lower())",
        "split_of(word)",
        "tests/data/test_split_names.py::test_what_may_be_a_split_is_asked_about_and_read_as_the_suite_says",
    ),
]
