"""Fine-tuning: train backbone and a new linear head together, the backbone at a lower learning rate than the head.

Kornblith, Shlens and Le 2019, "Do Better ImageNet Models Transfer Better?", arXiv:1805.08974, section 3, with
measures usual for small data: a head that is initialised to zero, warm-up and cosine decay by step, no weight decay of
biases and normalisation, and selection of the best epoch on validation. In episodes each support set is a training set
of its own, from the given weights and to the last epoch; the training classes are not used.
"""

from __future__ import annotations

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import FineTuningConfig, log_uniform, tunable
from tlbench.core.info import BackboneInfo, TaskInfo
from tlbench.data.dataset import Split, Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.fewshot.episodes import validate_on_episodes
from tlbench.training.fewshot.support_finetuning import SupportFineTuner
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.predictor import AdaptingEpisodeLearner, ModulePredictor, Predictor
from tlbench.training.recipe import EPOCHS, fine_tuning_recipe
from tlbench.training.supervised_loop import LoopOptions, train_classifier

PROTOCOLS = ("classification", "episodic")
SEGMENTABLE = ("classification",)
QUICK = {"epochs": 15, "lr": 5e-3}
_VALIDATION_EPISODES = 20  # each is a training of its own


class Config(FineTuningConfig):
    """Parameters of fine-tuning."""

    lr: float | None = tunable(None, log_uniform(1e-5, 1e-2), "learning rate of the backbone", gt=0)


def skip(info: TaskInfo, backbone: BackboneInfo, cfg: Config) -> str | None:
    """Refuse episodes without a number of shots."""
    if info.protocol == "episodic" and info.shots == "full":
        return "an episode has a number of shots, not all examples"
    return None


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor | AdaptingEpisodeLearner:
    """Train the whole network on the labelled examples (classification) or on each support set (episodes)."""
    recipe = fine_tuning_recipe(cfg, "network", backbone, ctx)

    def tune(model: Classifier, train: Split, ctx: Context, val: Split | None = None) -> None:
        parts = [(backbone.parameters(), recipe.lr), (model.head.parameters(), recipe.head_lr)]
        groups = parameter_groups(parts, cfg.weight_decay)
        train_classifier(model, groups, train, val, cfg, ctx, LoopOptions(batch_norm=recipe.batch_norm))

    if task.info.protocol == "episodic":
        cfg = cfg.model_copy(update={"epochs": cfg.epochs or EPOCHS})  # as many steps as elsewhere would take hours
        learner = SupportFineTuner(backbone, tune, task.info.classes, ctx)
        validate_on_episodes(learner, task.info, task.val, _VALIDATION_EPISODES, ctx)
        return learner
    model = Classifier(backbone, task.info.classes)
    tune(model, task.train, ctx, task.val)
    return ModulePredictor(model, list(model.parameters()))
