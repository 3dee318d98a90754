"""What follows on a task after learning without labels: fine-tuning as that of its method, or a probe as its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tlbench.core.config import SelfSupervisedConfig
from tlbench.plugins import registry
from tlbench.testing.fakes import FakeTask, fake_backbone, fake_context, fake_task
from tlbench.training.selfsupervised.downstream import train_downstream


@pytest.fixture(scope="module")
def fake() -> FakeTask:
    return fake_task("classification")


def test_fine_tuning_is_that_of_the_method_finetune(fake: FakeTask, tmp_path: Path) -> None:
    finetune = registry.declaration("methods", "finetune").load()
    ctx, twin = (fake_context(tmp_path / name, fake.dataset, fake_backbone()) for name in ("own", "twin"))
    config = SelfSupervisedConfig(epochs=9, tune_epochs=3, tune_lr=2e-3, head_multiplier=10.0)
    found = train_downstream(fake.task, fake_backbone(), config, ctx)
    expected = finetune.fit(fake.task, fake_backbone(), finetune.Config(epochs=3, lr=2e-3, head_multiplier=10.0), twin)
    x = torch.from_numpy(fake.test.x)
    assert torch.equal(found.logits(x), expected.logits(x))
    assert found.footprint() == expected.footprint()
    assert (ctx.curves, ctx.selected, ctx.validation) == (twin.curves, twin.selected, twin.validation)


def test_a_probe_is_fitted_on_the_backbone_as_it_is_now(fake: FakeTask, tmp_path: Path) -> None:
    """The context's features are of another backbone, as they are once the given one has been trained."""
    probe = registry.declaration("methods", "linear_probe").load()
    now = fake_backbone(5)
    ctx = fake_context(tmp_path / "own", fake.dataset, fake_backbone(0))
    twin = fake_context(tmp_path / "twin", fake.dataset, fake_backbone(5))
    found = train_downstream(fake.task, now, SelfSupervisedConfig(then="probe"), ctx)
    expected = probe.fit(fake.task, fake_backbone(5), probe.Config(), twin)
    x = torch.from_numpy(fake.test.x)
    torch.testing.assert_close(found.logits(x), expected.logits(x), rtol=1e-3, atol=1e-3)
    assert ctx.selected == twin.selected
    assert ctx.validation == pytest.approx(twin.validation)
    before = fake_backbone(5).state_dict()
    assert all(torch.equal(value, before[name]) for name, value in now.state_dict().items())
    assert found.footprint().trainable == sum(p.numel() for p in found.module.parameters())
