"""Episodes that a file gives, as an option of a protocol: how a suite names the file, and what its content is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from tlbench.core.config import Settings


class EpisodeFile(Settings):
    """A file of episodes (:mod:`tlbench.data.episode_file`)."""

    file: str = Field("", description="a .csv file with episode, role, example, class; relative to the suite file")
    sha256: str = Field("", description="hash of the file's content; may be given, so that no other content is taken")


def _form(value: object) -> str:
    return "file" if isinstance(value, Mapping | EpisodeFile) else "count"


EpisodesOption = Annotated[
    Annotated[int, Field(ge=1), Tag("count")] | Annotated[EpisodeFile, Tag("file")], Discriminator(_form)
]
"""How many episodes are drawn, or a file that gives them."""


def given_file(options: Mapping[str, Any]) -> EpisodeFile | None:
    """Return the file of episodes that the options of a protocol name; None where they name none."""
    value = options.get("episodes")
    return EpisodeFile(**value) if isinstance(value, Mapping) else None


def gives_episodes(options: Mapping[str, Any]) -> bool:
    """Say whether a file gives the episodes, rather than a draw."""
    return isinstance(options.get("episodes"), Mapping)
