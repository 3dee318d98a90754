"""Every family reads the same names of augmentation, and trains on what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tlbench.core.config import AdaptationConfig, AugmentingConfig, MixingConfig
from tlbench.plugins import registry
from tlbench.testing.contract import PRETRAIN, Case, run
from tlbench.training import supervised_loop
from tlbench.training.adaptation import adaptation_loop
from tlbench.training.augmentation.policy import UNCHANGED, Augmentation

STRONG = {"augment": "randaugment", "operations": 1, "magnitude": 4.0}
FOUND = Augmentation("shift", operations=1, magnitude=4.0)  # of grey images
SHORT = {"epochs": 1}
CASES = (
    Case("finetune", "classification", params=SHORT),
    Case("lora", "classification", params=SHORT),
    Case("from_scratch", "classification", params=SHORT),
    Case("distillation", "classification", params=SHORT),
    Case("simclr", "classification", params={**SHORT, "tune_epochs": 1}),
    Case("supervised", PRETRAIN, params=SHORT),
    Case("baseline_pp", "episodic", params={**SHORT, "steps": 1}),
    Case("source_only", "adaptation", params={"steps": 2, "checks": 1}),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.method)
def test_what_the_suite_says_reaches_the_training(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Augmentation] = []

    def heard(kind: type) -> type:
        class Heard(kind):  # type: ignore[misc,valid-type]
            def __init__(self, examples: Any, size: int, augmentation: Augmentation, *rest: Any, **named: Any) -> None:
                seen.append(augmentation)
                super().__init__(examples, size, augmentation, *rest, **named)

        return Heard

    monkeypatch.setattr(supervised_loop, "Batches", heard(supervised_loop.Batches))
    monkeypatch.setattr(adaptation_loop, "_Stream", heard(adaptation_loop._Stream))
    config = registry.declaration("methods", case.method).load().Config
    mixes = {"mix": "cutmix", "mix_alpha": 0.5} if issubclass(config, MixingConfig) else {}
    expected = FOUND if not mixes else Augmentation("shift", 0.08, 1, 4.0, "cutmix", 0.5)
    run(Case(case.method, case.role, params={**case.params, **STRONG, **mixes}), tmp_path / "strong")
    assert seen
    assert set(seen) == {expected}
    seen.clear()
    run(Case(case.method, case.role, params={**case.params, "augment": "none"}), tmp_path / "none")
    assert {each.changes_images for each in seen} == {UNCHANGED.changes_images}


def test_every_method_that_reads_images_and_trains_reads_the_names() -> None:
    """But for those that train on episodes or pairs alone, and those that only fit on frozen features."""
    others = {"inner_steps", "episodes", "iterations"}
    for name in registry.names("methods"):
        declared = registry.declaration("methods", name)
        config, fields = declared.settings, declared.settings.model_fields
        if "image" in declared.modalities and "weight_decay" in fields and not declared.constants.FROZEN_BACKBONE:
            assert issubclass(config, AugmentingConfig) or not others.isdisjoint(fields), name
    assert not issubclass(AdaptationConfig, MixingConfig), "labels of two domains are not mixed"


@pytest.mark.parametrize("mix", ["none", "mixup", "cutmix"])
@pytest.mark.parametrize("augment", ["none", "affine", "crop_flip", "randaugment"])
def test_the_same_seed_trains_the_same_network(augment: str, mix: str, tmp_path: Path) -> None:
    fits = []
    for number, noise in enumerate((1, 2)):
        params = {"epochs": 2, "augment": augment, "mix": mix}
        torch.manual_seed(noise)
        fits.append(run(Case("finetune", "classification", params=params), tmp_path / str(number)).logits)
    assert torch.equal(*fits)
    assert fits[0].isfinite().all()


def test_what_reads_cached_features_refuses_to_change_images() -> None:
    config = registry.declaration("methods", "linear_head").load().Config
    for params in ({"augment": "auto"}, {"mix": "cutmix"}):
        with pytest.raises(ValueError, match=r"must be 'none', not '(auto|cutmix)': features are computed once"):
            config(**params)
