"""A search problem: a setting and a seed whose method is searched, the space it is searched over, and its trials.

Every seed has a search of its own. Its trials have the labels that the cell of that seed owns, and no others: a search
shared by all seeds would give each of them the labels of another draw, and its luck to all of them at once, which the
spread over seeds would then not show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tlbench.core.cell import BackboneChoice, Cell, DatasetChoice, MethodChoice, ProtocolChoice, Setting, cell_id
from tlbench.core.description import DEFAULT_EXECUTION, Execution, Trial, setting_label
from tlbench.core.hashing import canonical, digest
from tlbench.core.info import Shots
from tlbench.core.label_budget import extra_labels, fold_count
from tlbench.core.segments import GENERATIONS
from tlbench.search.sampler import SamplerPlugin, sampler
from tlbench.search.scheduler import SchedulerPlugin, scheduler
from tlbench.search.space import Space
from tlbench.search.spec import Search


@dataclass(frozen=True)
class SearchProblem:
    """One method, backbone, dataset, shots and seed under one protocol, whose parameters are searched.

    Attributes:
        protocol: The protocol.
        method: The method as the suite has it, marked as tuned.
        backbone: The backbone.
        dataset: The dataset.
        shots: The label budget, which holds for every trial.
        seed: Of the cell that gets the winner's values; trials have its draw of labels.
        space: What is searched.
        search: How.
        execution: Precision and number of processes of a trial.
        foldable: Whether a trial may be trained once for each fold of the label budget.
    """

    protocol: ProtocolChoice
    method: MethodChoice
    backbone: BackboneChoice
    dataset: DatasetChoice
    shots: Shots
    seed: int
    space: Space
    search: Search
    execution: Execution = DEFAULT_EXECUTION
    foldable: bool = False

    @cached_property
    def key(self) -> str:
        """Hash of what decides the trials; a larger budget has the same first ones, unless they are a population."""
        name = "none" if self.scheduler.population is not None and not self.segmented else self.search.scheduler
        how: tuple[Any, ...] = (self.search.searcher, name, self.search.objective, self.space.key)
        how += (self.search.trials, self.space.lasting) if self.segmented else ()
        how += (self.execution.key,) if self.execution.key else ()
        return digest([*self._setting(self.method).parts, self.seed, self.folds, *how], length=20)

    @property
    def segmented(self) -> bool:
        """Whether a trial is one segment of a training: where it may be cut, and some value may change there."""
        changing = len(self.space.lasting) < len(self.space.dimensions)
        return self.scheduler.population is not None and self.protocol.name in self.space.segmentable and changing

    @cached_property
    def folds(self) -> int:
        """Number of folds in which a trial is validated, and of trainings that it takes; 1 is the part held out.

        A training that is cut into segments is never folded, since all its segments would be kept for every fold; nor
        is one that learns from a teacher, which was fitted to the labels of all folds.
        """
        if not self.foldable or self.segmented or self.method.teacher is not None:
            return 1
        return self.folds_wanted

    @property
    def folds_wanted(self) -> int:
        """Number of folds that so few validation examples ask for, whether the training can have them or not."""
        if extra_labels(self.protocol.options):
            return 1
        return fold_count(self.dataset.info, self.shots, self.search.fold_below)

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
        setting = setting_label(self.method.label, self.backbone.info.label, self.dataset.info.name, self.shots)
        return f"{setting} | seed {self.seed}"

    def trial_id(self, number: int) -> str:
        """Return the id of a trial, from 1 on; known before its configuration is."""
        return digest([self.key, "trial", number], length=20)

    def trial(self, number: int, values: Mapping[str, Any]) -> Cell:
        """Return a trial that is trained from beginning to end as a cell that is scored on validation only.

        Args:
            number: From 1 on.
            values: Values of the parameters that are searched and active.
        """
        return self.trial_cell(self.new_trial(number, values))

    def new_trial(self, number: int, values: Mapping[str, Any]) -> Trial:
        """Return a trial that is trained from beginning to end, from 1 on, by the values that are active."""
        return Trial(self.key, number, dict(values), folds=self.folds)

    def trial_cell(self, trial: Trial) -> Cell:
        """Return any trial as such a cell."""
        setting = self._setting(self._with(trial.values))
        return Cell(self.trial_id(trial.number), *setting, self.seed, self.execution, trial=trial)

    def is_default(self, trial: Trial) -> bool:
        """Return whether a trial was trained with the default configuration throughout."""
        return len(trial.segments) <= 1 and canonical(trial.values) == canonical(self.space.start)

    @cached_property
    def default_cell(self) -> Cell:
        """The cell with the suite's own parameters, of which nothing says that they were searched.

        It is what the tuned cell is held against; and it *is* the tuned cell where the default is kept, under the same
        id, so that one training serves both.
        """
        setting = self._setting(replace(self.method, label=unmark_tuned(self.method.label)))
        return Cell(cell_id(setting, self.seed, execution=self.execution), *setting, self.seed, self.execution)

    @cached_property
    def waiting_cell(self) -> Cell:
        """The tuned cell while its parameters are not known."""
        setting = self._setting(self.method)
        return Cell(digest([self.default_cell.id, "waits"], length=20), *setting, self.seed, self.execution)

    def tuned_cell(self, winner: Trial | None) -> Cell:
        """Return the cell with the values of a search's winner; the default one where these or none won."""
        if winner is None or self.is_default(winner):
            return self.default_cell
        setting = self._setting(self._with(winner.values))
        name = cell_id(setting, self.seed, segments=winner.segments, execution=self.execution)
        return Cell(name, *setting, self.seed, self.execution, winner=winner)

    def _setting(self, method: MethodChoice) -> Setting:
        return Setting(self.protocol, method, self.backbone, self.dataset, self.shots)

    def _with(self, values: Mapping[str, Any]) -> MethodChoice:
        return replace(self.method, params=self.method.params | dict(values))


def mark_tuned(method: MethodChoice) -> MethodChoice:
    """Return a method under a label that says that its parameters are found by search: ``lora(tuned)``."""
    head, bracket, inner = method.label.partition("(")
    return replace(method, label=f"{head}({inner[:-1]}, tuned)" if bracket else f"{head}(tuned)")


def unmark_tuned(label: str) -> str:
    """Return the label of a method without the mark of :func:`mark_tuned`."""
    if label.endswith("(tuned)"):
        return label.removesuffix("(tuned)")
    return f"{label.removesuffix(', tuned)')})" if label.endswith(", tuned)") else label
