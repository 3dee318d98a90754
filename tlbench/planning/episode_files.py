"""Reads the files of episodes that a suite names, and looks their examples up in its datasets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tlbench.core.cell import DatasetChoice
from tlbench.core.episode_file import EpisodeFile, given_file
from tlbench.core.errors import UserError, together
from tlbench.core.paths import expand
from tlbench.data.episode_file import EpisodeTable, read_episodes
from tlbench.data.given_episodes import resolve_episodes
from tlbench.store.artifacts import Artifacts
from tlbench.suite.spec import Grid, Suite
from tlbench.suite.yaml_source import Source

_OF_THE_FILE = ("ways", "queries")


def with_episodes(suite: Suite, source: Source, datasets: Mapping[str, DatasetChoice], artifacts: Artifacts) -> Suite:
    """Return a suite in which grids with a file of episodes have its ways, shots and queries, and its hash.

    Args:
        suite: The suite.
        source: Its text, for the lines in messages; relative paths start from its folder.
        datasets: Its opened datasets by ``DatasetSpec.key``.
        artifacts: Where the rows of the examples are kept.

    Raises:
        UserError: A file is wrong, or a dataset lacks an example of it; with file and line of each.
    """
    errors: list[UserError] = []
    grids = []
    for position, grid in enumerate(suite.grids):
        given = given_file(grid.options)
        if given is None:
            grids.append(grid)
            continue
        try:
            grids.append(_resolved(grid, given, Path(source.name).absolute().parent, datasets, artifacts))
        except UserError as error:
            errors.append(error.at(source.at(("grids", position, "episodes"))))
    if errors:
        raise together(errors)
    return suite.model_copy(update={"grids": tuple(grids)})


def _resolved(
    grid: Grid, given: EpisodeFile, folder: Path, datasets: Mapping[str, DatasetChoice], artifacts: Artifacts
) -> Grid:
    if not given.file:
        raise UserError("episodes: 'file' is missing", "episodes: {file: PATH}, or a number of episodes to draw")
    for option in _OF_THE_FILE:
        if option in grid.options:
            raise UserError(f"{option}: the file of episodes says it", f"leave {option} out")
    table = read_episodes((folder / expand(given.file, folder)).resolve())
    if given.sha256 not in ("", table.sha256):
        raise UserError(f"{table.path}: its hash is {table.sha256}, not {given.sha256}", "another file was meant")
    if grid.shots not in (("full",), (table.shots,)):
        hint = f"leave shots out, or give shots: [{table.shots}], the usual number in the file"
        raise UserError("shots: the file of episodes says them", hint)
    for spec in grid.datasets:
        choice = datasets[spec.key]
        resolve_episodes(table, choice.name, choice.params, artifacts)
    return grid.model_copy(update={"shots": (table.shots,), "options": {**grid.options, **_facts(table)}})


def _facts(table: EpisodeTable) -> dict[str, object]:
    episodes = {"file": str(table.path), "sha256": table.sha256}
    return {"ways": table.ways, "queries": table.queries, "episodes": episodes}
