"""The test episodes of a cell where a file gives them."""

from __future__ import annotations

from tlbench.core.cell import Cell
from tlbench.core.episode_file import given_file
from tlbench.data.episode_file import GivenEpisode
from tlbench.data.given_episodes import given_episodes
from tlbench.store.artifacts import Artifacts


def episodes_of(cell: Cell, artifacts: Artifacts) -> tuple[GivenEpisode, ...] | None:
    """Return the test episodes that a file gives, by rows of the cell's dataset; None where the protocol draws them.

    Raises:
        UserError: The file has changed since the run was planned.
    """
    given, dataset = given_file(cell.protocol.options), cell.dataset
    if given is None:
        return None
    path = cell.protocol.episodes_file
    return given_episodes(path, given.sha256, dataset.name, dataset.params, dataset.info.fingerprint, artifacts)
