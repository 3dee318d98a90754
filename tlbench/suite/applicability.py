"""Whether a combination of protocol, method, backbone, dataset and shots makes sense, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass

from tlbench.core.cell import BackboneChoice, MethodChoice
from tlbench.core.config import Settings
from tlbench.core.info import DatasetInfo, TaskInfo
from tlbench.core.label_provenance import labels_shared
from tlbench.plugins.registry import Declaration, MethodConstants
from tlbench.suite.catalog import Catalog


@dataclass(frozen=True)
class Candidate:
    """A method with what decides whether it can take part in a task.

    Attributes:
        choice: The method.
        declared: What its file declares.
        config: Its parameters.
        teacher: Its teacher's method, where it learns from one.
    """

    choice: MethodChoice
    declared: Declaration[MethodConstants]
    config: Settings
    teacher: Candidate | None = None

    @classmethod
    def of(cls, choice: MethodChoice, catalog: Catalog) -> Candidate:
        """Read the declaration of a method, and of its teacher's."""
        declared = catalog.declare("methods", choice.name)
        teacher = None if choice.teacher is None else cls.of(choice.teacher.method, catalog)
        return cls(choice, declared, declared.settings(**choice.params), teacher)

    def obstacle(self, task: TaskInfo, backbone: BackboneChoice) -> str | None:
        """Say why this method cannot take part, if so; what forbids the backbone to every method is not asked."""
        own = self._own_obstacle(task, backbone)
        if own is not None or self.teacher is None or self.choice.teacher is None:
            return own
        its_backbone = self.choice.teacher.backbone
        reason = backbone_obstacle(task, its_backbone) or self.teacher.obstacle(task, its_backbone)
        return None if reason is None else f"its teacher: {reason}"

    def _own_obstacle(self, task: TaskInfo, backbone: BackboneChoice) -> str | None:
        if "fit" not in self.declared.roles:
            return f"{self.choice.name} only pre-trains: name it under a backbone's pretrain"
        if task.protocol not in self.declared.protocols:
            return f"{self.choice.name} does not take part in {task.protocol}"
        if backbone.info.modality not in self.declared.modalities:
            return f"{self.choice.name} does not read {task.dataset.modality} data"
        if self.declared.skip is None:
            return None
        return self.declared.skip(task, backbone.info, self.config)


def backbone_obstacle(task: TaskInfo, backbone: BackboneChoice) -> str | None:
    """Say why no method may use a backbone for a task, if so."""
    if backbone.info.modality != task.dataset.modality:
        return f"{backbone.info.modality} backbones cannot read {task.dataset.modality} data"
    corpus = _corpus_beyond_label_budget(task, backbone)
    if corpus is not None:
        whose = f"the target of {task.dataset.name}" if task.dataset.target else task.dataset.name
        return f"pre-training on {corpus.name} read training labels of {whose}, more than {task.shots} shots"
    return None


def _corpus_beyond_label_budget(task: TaskInfo, backbone: BackboneChoice) -> DatasetInfo | None:
    """Return the corpus from which pre-training read more labels of the target than the task allows, if any."""
    if task.protocol == "episodic" or task.shots == "full":
        return None
    labelled = (run.dataset.info for run in backbone.runs if run.labels)
    return next((corpus for corpus in labelled if labels_shared(corpus, task.dataset)), None)
