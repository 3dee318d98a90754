"""A searched setting: what a leaderboard row's cells share, the space its method is searched over, and its trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tlbench.core.cell import BackboneChoice, Cell, DatasetChoice, MethodChoice, ProtocolChoice, Trial, cell_id
from tlbench.core.hashing import digest
from tlbench.core.info import Shots
from tlbench.core.segments import GENERATIONS
from tlbench.search.space import Space
from tlbench.search.spec import Search

DRAW = 2**31
"""Seed of every search: suites name smaller ones, so no search sees the draws of a final cell."""


@dataclass(frozen=True)
class Setting:
    """One method, backbone, dataset and shots under one protocol, whose parameters are searched.

    Attributes:
        protocol: The protocol.
        method: The method as the suite has it.
        backbone: The backbone.
        dataset: The dataset.
        shots: The label budget, which holds for every trial.
        space: What is searched.
        search: How.
    """

    protocol: ProtocolChoice
    method: MethodChoice
    backbone: BackboneChoice
    dataset: DatasetChoice
    shots: Shots
    space: Space
    search: Search

    @cached_property
    def key(self) -> str:
        """Hash of what decides the trials; a larger budget has the same first ones, unless they are a population."""
        scheduler = "none" if self.search.scheduler == "pbt" and not self.in_legs else self.search.scheduler
        how: tuple[Any, ...] = (self.search.searcher, scheduler, self.search.objective, self.space.key)
        how += (self.search.trials, self.space.lasting) if self.in_legs else ()
        parts = (self.protocol.key, self.method.key, self.backbone.key, self.dataset.info.fingerprint, self.shots)
        return digest([*parts, *how], length=20)

    @property
    def in_legs(self) -> bool:
        """Whether its trials are legs of trainings: where they may be cut, and there is something to change then."""
        changing = len(self.space.lasting) < len(self.space.dimensions)
        return self.search.scheduler == "pbt" and self.protocol.name in self.space.legs and changing

    @property
    def parts(self) -> int:
        """Number of trials that come to one training."""
        return len(GENERATIONS) if self.in_legs else 1

    @property
    def most(self) -> int:
        """Number of trials that its budget allows."""
        return self.search.trials * self.parts

    @property
    def label(self) -> str:
        """What people read."""
        shots = "full" if self.shots == "full" else f"{self.shots} shots"
        return f"{self.method.label} | {self.backbone.info.label} | {self.dataset.info.name} | {shots}"

    def trial_id(self, number: int) -> str:
        """Return the id of a trial, from 1 on; known before its configuration is."""
        return digest([self.key, "trial", number], length=20)

    def trial(self, number: int, values: Mapping[str, Any]) -> Cell:
        """Return a trial that is trained from beginning to end as a cell that is scored on validation only.

        Args:
            number: From 1 on.
            values: Values of the parameters that are searched and count.
        """
        return self.cell_of(Trial(self.key, number, dict(values)))

    def cell_of(self, trial: Trial) -> Cell:
        """Return any trial as such a cell."""
        parts = (self.protocol, self._with(trial.values), self.backbone, self.dataset, self.shots, DRAW)
        return Cell(self.trial_id(trial.number), *parts, trial=trial)

    def tuned(self, found: Trial | None, seed: int) -> Cell:
        """Return a cell with the values that a search found, or with the suite's own where it found none."""
        method = self._with({} if found is None else found.values)
        parts = (self.protocol, method, self.backbone, self.dataset, self.shots, seed)
        return Cell(cell_id(*parts, () if found is None else found.legs), *parts, found=found)

    def _with(self, values: Mapping[str, Any]) -> MethodChoice:
        return replace(self.method, params=self.method.params | dict(values))


def mark_tuned(method: MethodChoice) -> MethodChoice:
    """Return a method under a label that says that its parameters are found by search: ``lora(tuned)``."""
    head, bracket, inner = method.label.partition("(")
    return replace(method, label=f"{head}({inner[:-1]}, tuned)" if bracket else f"{head}(tuned)")


def settings_of(cells: Iterable[Cell], spaces: Mapping[str, Space], search: Search) -> dict[str, Setting]:
    """Return the searched settings among cells, in order of first appearance, by :func:`place`.

    Args:
        cells: Cells of a plan, their methods marked as tuned.
        spaces: By ``MethodChoice.key``; a method that is missing is not searched.
        search: How.
    """
    found: dict[str, Setting] = {}
    for cell in cells:
        space = spaces.get(cell.method.key)
        if space is not None and place(cell) not in found:
            parts = (cell.protocol, cell.method, cell.backbone, cell.dataset, cell.shots)
            found[place(cell)] = Setting(*parts, space, search)
    return found


def place(cell: Cell) -> str:
    """Return a name for all of a cell but its seed."""
    return digest([cell.protocol.key, cell.method.key, cell.backbone.key, cell.dataset.info.fingerprint, cell.shots])
