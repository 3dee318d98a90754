"""From a suite file to its plan: opens the datasets, resolves the backbones, expands the grids. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from tlbench.core.cell import BackboneChoice, DatasetChoice, MethodChoice
from tlbench.core.errors import UserError, together
from tlbench.planning.catalog import full_catalog
from tlbench.planning.check_references import check_references
from tlbench.planning.check_tasks import check_tasks
from tlbench.planning.episode_files import with_episodes
from tlbench.planning.given_names import given_names
from tlbench.planning.input_notes import input_notes
from tlbench.planning.open_datasets import DatasetOpener
from tlbench.planning.resolve_backbones import resolve_backbones
from tlbench.planning.search_plan import (
    Searches,
    plan_searches,
    planned_settings,
    read_studies,
    unfolded,
    with_winners,
)
from tlbench.search.problem import mark_tuned
from tlbench.store.artifacts import Artifacts
from tlbench.store.ledger import Ledger
from tlbench.suite.catalog import Catalog
from tlbench.suite.expand import expand
from tlbench.suite.load import load_source
from tlbench.suite.plan import Plan
from tlbench.suite.resolve import baseline_label, choose_listed
from tlbench.suite.search_validation import ends_no_trial, searched_space
from tlbench.suite.spec import MethodSpec, Suite
from tlbench.suite.yaml_source import Source, read


@dataclass(frozen=True)
class PreparedSuite:
    """A suite that can run: all that it names exists, and its cells are known.

    Attributes:
        suite: What the file says.
        text: The file itself.
        plan: Its cells.
        baseline: Label of the baseline, or empty.
        warnings: What a reader of the results must know of the data and of the search.
        searches: What is searched; cells of the plan that wait for it have no parameters yet.
        path: The whole path of the file, links in it followed; None where there is none.
        named_at: File and line of its name, as the user wrote the file's path; without a file, the key.
    """

    suite: Suite
    text: str
    plan: Plan
    baseline: str
    warnings: tuple[str, ...]
    searches: Searches = field(default_factory=lambda: Searches({}))
    path: Path | None = None
    named_at: str = ""

    def with_winners(self, ledger: Ledger) -> PreparedSuite:
        """Return the suite with the parameters that its finished searches found; a new one, if any waited for them."""
        if not self.searches.waiting:
            return self
        plan, searches = with_winners(self.plan, self.searches, read_studies(self.searches, ledger))
        return replace(self, plan=plan, searches=searches)


def prepare(path: Path, artifacts: Artifacts, on_open: Callable[[str], None] = lambda name: None) -> PreparedSuite:
    """Read a suite, open its data and plan its cells.

    Args:
        path: The suite file.
        artifacts: Where decoded data are kept.
        on_open: Called with the name of each dataset before it is opened.

    Raises:
        UserError: Something in the file, the data or the weights is wrong.
    """
    return replace(
        prepare_source(read(path), path.absolute().parent, artifacts, on_open),
        path=path.resolve(),
    )


def prepare_source(
    source: Source, folder: Path, artifacts: Artifacts, on_open: Callable[[str], None] = lambda name: None
) -> PreparedSuite:
    """Do what :func:`prepare` does with a suite that was read before, as one without a file.

    Args:
        source: What the suite says.
        folder: Where relative paths start.
        artifacts: Where decoded data are kept.
        on_open: Called with the name of each dataset before it is opened.

    Raises:
        UserError: Something in the suite, the data or the weights is wrong.
    """
    catalog = full_catalog()
    opener = DatasetOpener(source, folder, artifacts, on_open)
    suite = opener.expand_pairs(load_source(source, folder, catalog))
    datasets = opener.open_all(suite)
    if opener.errors:
        raise together(opener.errors)
    backbones = resolve_backbones(suite, source, datasets, catalog, artifacts)
    suite = with_episodes(suite, source, datasets, artifacts)
    check_tasks(suite, source, catalog, datasets, backbones)
    planned = _plan(suite, source, catalog, datasets, backbones)
    return replace(planned, named_at=source.at(("name",)))


def _plan(
    suite: Suite,
    source: Source,
    catalog: Catalog,
    datasets: dict[str, DatasetChoice],
    backbones: dict[str, BackboneChoice],
) -> PreparedSuite:
    """Expand the grids, and let the cells of searched methods wait for their parameters.

    Raises:
        UserError: The baseline is none of the methods.
    """
    methods = [(spec, choose_listed(spec, backbones, catalog)) for grid in suite.grids for spec in grid.methods]
    spaces = {
        choice.key: space for spec, choice in methods if (space := searched_space(spec, suite, catalog)) is not None
    }
    baseline = _baseline(suite, source, methods)
    plan, searches = plan_searches(expand(suite, catalog, datasets, backbones), suite, spaces)
    if suite.references:
        check_references(suite, source, planned_settings(plan, searches))
    tuned = {choice.label: mark_tuned(choice).label for _, choice in methods if choice.key in spaces}
    plan = replace(plan, names=given_names(suite, source, methods, backbones, tuned))
    return PreparedSuite(
        suite=suite,
        text=source.text,
        plan=plan,
        baseline=tuned.get(baseline, baseline),
        warnings=(
            *ends_no_trial(suite, catalog),
            *unfolded(searches),
            *input_notes(plan.cells),
            *(f"{c.info.name}: {text}" for c in datasets.values() for text in c.info.warnings),
        ),
        searches=searches,
    )


def _baseline(suite: Suite, source: Source, methods: list[tuple[MethodSpec, MethodChoice]]) -> str:
    """Return the label of the baseline, empty where the suite has none.

    Raises:
        UserError: No grid lists it, or its name fits several methods.
    """
    try:
        return baseline_label(suite, [choice for _, choice in methods]) or ""
    except UserError as error:
        raise error.at(source.at(("baseline",))) from error
