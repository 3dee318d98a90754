"""Suite file -> Suite: every mistake is reported with its file and line and the nearest valid choice, all at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlbench.core.errors import UserError, nearest
from tlbench.core.validation import Problem, check
from tlbench.suite.catalog import Catalog
from tlbench.suite.check_grid import check_grid
from tlbench.suite.check_metric import check_metric
from tlbench.suite.check_pretrain_seeds import check_pretrain_seeds
from tlbench.suite.check_search import check_search
from tlbench.suite.normal_form import list_of, mappings_in, normal_form
from tlbench.suite.resolve import baseline_label, choose_method
from tlbench.suite.search_validation import undecided
from tlbench.suite.spec import Suite
from tlbench.suite.yaml_source import Source, parse, read, refuse


def load(path: Path, catalog: Catalog) -> Suite:
    """Read a suite file and check all that can be checked before any data is opened.

    Args:
        path: The YAML file.
        catalog: What a suite may name.

    Raises:
        UserError: With one line ``file:line: what`` for each mistake.
    """
    return load_source(read(path), path.absolute().parent, catalog)


def loads(text: str, catalog: Catalog, name: str = "suite", folder: Path | None = None) -> Suite:
    """Do what :func:`load` does with a text.

    Args:
        text: YAML.
        catalog: What a suite may name.
        name: What stands for the file in messages.
        folder: Where relative paths start; the working directory by default.
    """
    return load_source(parse(text, name), folder or Path.cwd(), catalog)


def load_source(source: Source, folder: Path, catalog: Catalog) -> Suite:
    """Do what :func:`load` does with a YAML text that was parsed before.

    Args:
        source: The text.
        folder: Where relative paths start.
        catalog: What a suite may name.

    Raises:
        UserError: It describes none; mistakes of spelling and form come first, and those of meaning only without them.
    """
    if not isinstance(source.value, dict):
        kind = "a list" if isinstance(source.value, list) else "a single value"
        raise UserError(f"{source.at(())}: a suite is a mapping with name and grids, not {kind}")
    value = normal_form(source.value, catalog)
    suite, problems = check(Suite, value)
    of_names = list(_check_names(value, folder, catalog))
    reported = {problem.where for problem in of_names}
    problems = of_names + [problem for problem in problems if problem.where not in reported]
    if suite is None or problems:
        raise refuse(problems, source)
    if problems := list(undecided(suite, catalog)):
        raise refuse(problems, source)
    try:
        _check_baseline(suite, catalog)
    except UserError as error:
        raise error.at(source.at(("baseline",))) from error
    return suite


def _check_names(suite: dict[str, Any], folder: Path, catalog: Catalog) -> Iterator[Problem]:
    """Look up every name in a suite in its normal form, and check the parameters that go with it.

    Args:
        suite: In its normal form; any part of it may still be wrong.
        folder: Where relative paths start.
        catalog: What a suite may name.
    """
    yield from check_pretrain_seeds(suite)
    yield from check_metric(suite, catalog)
    listed: set[str] = set()
    for position, grid in enumerate(list_of(suite.get("grids"))):
        if isinstance(grid, dict):
            yield from check_grid(grid, ("grids", position), folder, catalog)
            listed |= {str(method.get("name")) for method in mappings_in(grid.get("methods"))}
    if not listed or not listed.issubset(catalog.methods):
        return  # what follows would only repeat that a method is misnamed
    baseline = suite.get("baseline")
    if isinstance(baseline, str) and baseline.partition("(")[0] not in listed:
        yield Problem(("baseline",), f"baseline {baseline!r}: no grid lists it", nearest(baseline, listed))
    for position, reference in enumerate(mappings_in(suite.get("references"))):
        row = reference.get("row")
        method = row.get("method") if isinstance(row, dict) else None
        if isinstance(method, str) and method.partition("(")[0] not in listed:
            where = ("references", position, "row", "method")
            yield Problem(where, f"row: no grid lists the method {method!r}", nearest(method, listed))
    yield from check_search(suite.get("search"), listed, catalog)


def _check_baseline(suite: Suite, catalog: Catalog) -> None:
    """Check that the baseline is one of the suite's methods.

    The label of a method with a teacher holds its backbone's, which is not known before the data are opened: where the
    baseline may be such a method, :func:`tlbench.planning.prepare.prepare` checks it.

    Raises:
        UserError: No grid lists it, or its name fits several methods.
    """
    methods = [spec for grid in suite.grids for spec in grid.methods]
    if suite.baseline is None or suite.baseline.partition("(")[0] in {spec.name for spec in methods if spec.teacher}:
        return
    baseline_label(suite, [choose_method(spec.name, spec.params, catalog) for spec in methods if spec.teacher is None])
