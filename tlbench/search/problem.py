"""A search problem: a setting of a suite whose method is searched, the space it is searched over, and its trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tlbench.core.cell import BackboneChoice, Cell, DatasetChoice, MethodChoice, ProtocolChoice, Setting, cell_id
from tlbench.core.description import DEFAULT_EXECUTION, Execution, Trial, setting_label
from tlbench.core.hashing import digest
from tlbench.core.info import Shots
from tlbench.core.segments import GENERATIONS
from tlbench.search.sampler import SamplerPlugin, sampler
from tlbench.search.scheduler import SchedulerPlugin, scheduler
from tlbench.search.space import Space
from tlbench.search.spec import Search

SEARCH_SEED = 2**31
"""Seed of the draw of labels in every search; suites name smaller ones, so no search sees the draw of a final cell."""


@dataclass(frozen=True)
class SearchProblem:
    """One method, backbone, dataset and shots under one protocol, whose parameters are searched.

    Attributes:
        protocol: The protocol.
        method: The method as the suite has it.
        backbone: The backbone.
        dataset: The dataset.
        shots: The label budget, which holds for every trial.
        space: What is searched.
        search: How.
        execution: Precision and number of processes of a trial.
    """

    protocol: ProtocolChoice
    method: MethodChoice
    backbone: BackboneChoice
    dataset: DatasetChoice
    shots: Shots
    space: Space
    search: Search
    execution: Execution = DEFAULT_EXECUTION

    @cached_property
    def key(self) -> str:
        """Hash of what decides the trials; a larger budget has the same first ones, unless they are a population."""
        name = "none" if self.scheduler.population is not None and not self.segmented else self.search.scheduler
        how: tuple[Any, ...] = (self.search.searcher, name, self.search.objective, self.space.key)
        how += (self.search.trials, self.space.lasting) if self.segmented else ()
        how += (self.execution.key,) if self.execution.key else ()
        return digest([*self._setting(self.method).parts, *how], length=20)

    @property
    def segmented(self) -> bool:
        """Whether a trial is one segment of a training: where it may be cut, and some value may change there."""
        changing = len(self.space.lasting) < len(self.space.dimensions)
        return self.scheduler.population is not None and self.protocol.name in self.space.segmentable and changing

    @property
    def sampler(self) -> SamplerPlugin:
        """What proposes its configurations."""
        return sampler(self.search.searcher)

    @property
    def scheduler(self) -> SchedulerPlugin:
        """What stops or changes its trials."""
        return scheduler(self.search.scheduler)

    @property
    def trials_per_training(self) -> int:
        """Number of trials that make up one whole training."""
        return len(GENERATIONS) if self.segmented else 1

    @property
    def max_trials(self) -> int:
        """Number of trials that its budget allows."""
        return self.search.trials * self.trials_per_training

    @property
    def label(self) -> str:
        """For people."""
        return setting_label(self.method.label, self.backbone.info.label, self.dataset.info.name, self.shots)

    def trial_id(self, number: int) -> str:
        """Return the id of a trial, from 1 on; known before its configuration is."""
        return digest([self.key, "trial", number], length=20)

    def trial(self, number: int, values: Mapping[str, Any]) -> Cell:
        """Return a trial that is trained from beginning to end as a cell that is scored on validation only.

        Args:
            number: From 1 on.
            values: Values of the parameters that are searched and active.
        """
        return self.trial_cell(Trial(self.key, number, dict(values)))

    def trial_cell(self, trial: Trial) -> Cell:
        """Return any trial as such a cell."""
        setting = self._setting(self._with(trial.values))
        return Cell(self.trial_id(trial.number), *setting, SEARCH_SEED, self.execution, trial=trial)

    def tuned_cell(self, winner: Trial | None, seed: int) -> Cell:
        """Return a cell with the values of a search's winner, or with the suite's own where there is none."""
        setting = self._setting(self._with({} if winner is None else winner.values))
        segments = () if winner is None else winner.segments
        name = cell_id(setting, seed, segments=segments, execution=self.execution)
        return Cell(name, *setting, seed, self.execution, winner=winner)

    def _setting(self, method: MethodChoice) -> Setting:
        return Setting(self.protocol, method, self.backbone, self.dataset, self.shots)

    def _with(self, values: Mapping[str, Any]) -> MethodChoice:
        return replace(self.method, params=self.method.params | dict(values))


def mark_tuned(method: MethodChoice) -> MethodChoice:
    """Return a method under a label that says that its parameters are found by search: ``lora(tuned)``."""
    head, bracket, inner = method.label.partition("(")
    return replace(method, label=f"{head}({inner[:-1]}, tuned)" if bracket else f"{head}(tuned)")


def search_problems(cells: Iterable[Cell], spaces: Mapping[str, Space], search: Search) -> dict[str, SearchProblem]:
    """Return the search problems among cells, in order of first appearance, by the key of their setting.

    Args:
        cells: Cells of a plan, their methods marked as tuned.
        spaces: By ``MethodChoice.key``; a method that is missing is not searched.
        search: How.
    """
    problems: dict[str, SearchProblem] = {}
    for cell in cells:
        space = spaces.get(cell.method.key)
        if space is not None and cell.setting.key not in problems:
            problems[cell.setting.key] = SearchProblem(*cell.setting, space, search, cell.execution)
    return problems
