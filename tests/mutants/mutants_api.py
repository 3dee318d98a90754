"""Defects of suites from Python, and of what the functions of the package return."""

from __future__ import annotations

from mutant import Mutant

DICTIONARY = "tests/suite/test_dictionary.py"
IN_PYTHON = "tests/api/test_suite_in_python.py"
PROGRESS = "tests/api/test_progress.py"

MUTANTS = [
    Mutant(
        "api: a dictionary's mistakes have no order",
        "tlbench.suite.dictionary:_plain",
        "lines[here] = len(lines) + 1",
        "lines[here] = -len(lines)",
        f"{DICTIONARY}::test_several_mistakes_are_told_in_the_order_of_the_dictionary",
    ),
    Mutant(
        "api: positions in lists are named as keys",
        "tlbench.suite.dictionary:keys_to",
        "isinstance(step, int)",
        "False",
        f"{DICTIONARY}::test_mistakes_are_named_by_the_keys_that_lead_to_them",
    ),
    Mutant(
        "api: whole numbers of numpy become fractions",
        "tlbench.suite.dictionary:_scalar",
        "int(value) if isinstance(value, Integral) else float(value)",
        "float(value)",
        f"{DICTIONARY}::test_what_python_has_and_yaml_has_not_is_taken",
    ),
    Mutant(
        "api: numbers may be infinite",
        "tlbench.suite.dictionary:_scalar",
        "not math.isfinite(number)",
        "False",
        f"{DICTIONARY}::test_mistakes_are_named_by_the_keys_that_lead_to_them",
    ),
    Mutant(
        "api: options of the protocol are lost",
        "tlbench.suite.written_form:_grid",
        "said | grid.options",
        "said",
        f"{DICTIONARY}::test_every_shipped_suite_is_the_same_as_typed_objects",
    ),
    Mutant(
        "api: shots that were not given are written",
        "tlbench.suite.written_form:_grid",
        "key in grid.model_fields_set and value is not None",
        "value is not None",
        f"{DICTIONARY}::test_typed_objects_may_name_things_alone",
    ),
    Mutant(
        "api: pre-training starts anew",
        "tlbench.suite.written_form:_backbone",
        "backbone.pretrain is None",
        "True",
        f"{DICTIONARY}::test_every_shipped_suite_is_the_same_as_typed_objects",
    ),
    Mutant(
        "api: a dictionary takes the name of any file",
        "tlbench.runner.suite_names:_is_taken",
        "_has_name(owner.path, name) and _value(owner.path) != parse(prepared.text, prepared.named_at).value",
        "False",
        f"{IN_PYTHON}::test_a_name_of_a_file_is_not_taken_by_a_dictionary",
    ),
    Mutant(
        "api: a dictionary that says what a file says is refused",
        "tlbench.runner.suite_names:_is_taken",
        "_value(owner.path) != parse(prepared.text, prepared.named_at).value",
        "True",
        f"{IN_PYTHON}::test_a_name_of_a_file_is_not_taken_by_a_dictionary",
    ),
    Mutant(
        "api: columns have the types that they happen to have",
        "tlbench.api.columns:typed",
        "frame.astype({column.name: column.dtype for column in columns if column.name in frame})",
        "frame",
        f"{IN_PYTHON}::test_a_suite_whose_cells_are_done_goes_from_run_to_page",
    ),
    Mutant(
        "api: a run with failures is complete",
        "tlbench.api.run:Run.is_complete",
        "not self.failed and not self.left",
        "not self.left",
        f"{IN_PYTHON}::test_failed_cells_are_counted_with_their_reason",
    ),
    Mutant(
        "api: progress is shown unasked",
        "tlbench.api.progress:observer_for",
        "notebook if progress is None else progress",
        "notebook or progress is None or progress",
        f"{PROGRESS}::test_progress_is_shown_in_notebooks_and_where_it_is_asked_for",
    ),
    Mutant(
        "api: any IPython is a notebook",
        "tlbench.api.progress:in_notebook",
        "getattr(shell, 'kernel', None) is not None",
        "shell is not None",
        f"{PROGRESS}::test_progress_is_shown_in_notebooks_and_where_it_is_asked_for",
    ),
    Mutant(
        "api: an interruption is no exception",
        "tlbench.api.run:run",
        "summary.interrupted",
        "False",
        f"{IN_PYTHON}::test_a_run_that_was_interrupted_raises_once_what_was_under_way_is_kept",
    ),
    Mutant(
        "api: Ray of somebody else is used and ended",
        "tlbench.runner.session:_refuse_a_second_ray",
        "ray is not None and ray.is_initialized()",
        "False",
        f"{IN_PYTHON}::test_ray_that_somebody_else_has_started_is_left_alone",
    ),
]
