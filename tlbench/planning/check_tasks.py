"""Refuses tasks that the data cannot pose: too few examples or classes, or test classes seen in pre-training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tlbench.core.cell import BackboneChoice, DatasetChoice
from tlbench.core.class_splits import deal_classes
from tlbench.core.episode_file import gives_episodes
from tlbench.core.errors import UserError, together
from tlbench.core.info import DatasetInfo
from tlbench.core.label_budget import extra_labels, gives_what_it_has
from tlbench.data.sampling import check_episodes, check_shots
from tlbench.suite.catalog import Catalog
from tlbench.suite.resolve import choose_protocol
from tlbench.suite.spec import Grid, Suite
from tlbench.suite.yaml_source import Source


def check_tasks(
    suite: Suite,
    source: Source,
    catalog: Catalog,
    datasets: Mapping[str, DatasetChoice],
    backbones: Mapping[str, BackboneChoice],
) -> None:
    """Check that every grid's datasets can pose its tasks.

    Args:
        suite: The suite.
        source: Its text, for the lines in messages.
        catalog: Declares the protocols.
        datasets: Opened datasets by ``DatasetSpec.key``.
        backbones: Resolved backbones by ``BackboneSpec.key``.

    Raises:
        UserError: Naming file, line, dataset and class of all that cannot.
    """
    errors: list[UserError] = []
    for position, grid in enumerate(suite.grids):
        lines = [source.at(("grids", position, "shots", number)) for number in range(len(grid.shots))]
        for info in (datasets[spec.key].info for spec in grid.datasets):
            errors += _too_few_examples(grid, info, lines, catalog)
            if choose_protocol(grid, catalog).episodic and not errors:
                line = source.at(("grids", position, "datasets"))
                specs = (*grid.backbones, *(teacher.backbone for teacher in grid.teachers))
                errors += [error.at(line) for spec in specs for error in _seen_classes(info, backbones[spec.key])]
    if errors:
        raise together(errors)


def _too_few_examples(grid: Grid, info: DatasetInfo, lines: list[str], catalog: Catalog) -> Iterator[UserError]:
    """Yield why a dataset has too few examples or classes for the shots of a grid, listed on these lines."""
    options = choose_protocol(grid, catalog).options
    adapting = catalog.declare("protocols", grid.protocol).constants.PAIRS
    for shots, line in zip(grid.shots, lines, strict=True):
        try:
            if gives_episodes(options):
                continue  # the file was held against the dataset
            if "ways" in options:
                check_episodes(info, options["ways"], shots, options["queries"])
            else:
                extra, scarce = extra_labels(options), gives_what_it_has(options)
                check_shots(info, shots, adapting=adapting, extra=extra, scarce=scarce)
        except UserError as error:
            yield error.at(line)


def _seen_classes(info: DatasetInfo, backbone: BackboneChoice) -> Iterator[UserError]:
    """Yield which test classes of a dataset's episodes each pre-training run of a backbone has seen."""
    tested = {info.classes[label] for label in deal_classes(info)["test"]}
    for run in backbone.runs:
        corpus = run.dataset.info
        trained = corpus.class_splits.get("train", range(len(corpus.classes)))
        seen = {corpus.classes[label] for label in trained} & tested
        if seen:
            yield UserError(
                f"{backbone.info.label}: pre-training on {corpus.name} has seen test classes of {info.name}'s "
                f"episodes: {', '.join(sorted(seen)[:5])}",
                "pre-train on another dataset, or use one that declares a split of its classes",
            )
