"""Mutants of SimCLR: its loss, its views, LARS, and what it may read and leave behind."""

from __future__ import annotations

from mutant import Mutant

LOSS, LARS = "tests/training/test_contrastive.py", "tests/training/test_lars.py"
VIEWS, SIMCLR = "tests/training/test_views.py", "tests/methods/test_simclr.py"
TOGETHER = f"{SIMCLR}::test_two_processes_train_as_one_does"
BY_HAND = f"{SIMCLR}::test_training_is_the_papers_written_out"
CONTRASTIVE, METHOD = "tlbench.training.selfsupervised.contrastive", "tlbench.methods.simclr"

MUTANTS = (
    Mutant(
        "nt-xent: keeps the diagonal", f"{CONTRASTIVE}:nt_xent", "s.scatter_(1, own[:, None], -torch.inf)", "", LOSS
    ),
    Mutant("nt-xent: positives at i + 1", f"{CONTRASTIVE}:nt_xent", "len(z) // 2", "1", LOSS),
    Mutant(
        "nt-xent: skips normalisation",
        f"{CONTRASTIVE}:nt_xent",
        "normalize(z if z.dtype == torch.float64 else z.float(), dim=1)",
        "z if z.dtype == torch.float64 else z.float()",
        LOSS,
    ),
    Mutant("nt-xent: temperature multiplies", f"{CONTRASTIVE}:nt_xent", "/ temperature", "* temperature", LOSS),
    Mutant("nt-xent: similarities in low precision", f"{CONTRASTIVE}:nt_xent", "enabled=False", "", LOSS),
    Mutant(
        "nt-xent: rows name no view",
        f"{CONTRASTIVE}:nt_xent",
        "torch.arange(len(z), device=z.device) if rows is None else rows",
        "torch.arange(len(z) if rows is None else len(rows), device=z.device)",
        LOSS,
    ),
    Mutant(
        "spread: pairs of one image for all",
        f"{CONTRASTIVE}:alignment_and_uniformity",
        "torch.pdist(first)",
        "first - second",
        LOSS,
    ),
    Mutant(
        "simclr: no gradient through the gathering",
        f"{CONTRASTIVE}:gather_views",
        "gather_rows(torch.cat(z.tensor_split(2), 1), count, ctx)",
        "gather_rows(torch.cat(z.tensor_split(2), 1), count, ctx).detach()",
        TOGETHER,
    ),
    Mutant(
        "simclr: gathered views are interleaved",
        f"{CONTRASTIVE}:gather_views",
        "torch.cat(pairs.tensor_split(2, 1))",
        "pairs.reshape(2 * count, -1)",
        TOGETHER,
    ),
    Mutant("simclr: second views of another process", f"{METHOD}:_places", "own + count", "own + len(own)", TOGETHER),
    Mutant(
        "simclr: statistics of each process in the head",
        f"{METHOD}:_train",
        "ctx.wrap(model)",
        "nn.Sequential(ctx.wrap(backbone), head)",
        TOGETHER,
    ),
    Mutant(
        "simclr: two separate forwards",
        f"{METHOD}:train_step",
        "model(batch.x)",
        "torch.cat([model(part) for part in batch.x.chunk(2)])",
        SIMCLR,
    ),
    Mutant(
        "simclr: reads the corpus's labels",
        f"{METHOD}:pretrain",
        "corpus.x",
        'corpus.x if corpus.y is None else corpus.x[np.argsort(corpus.labels, kind="stable")]',
        SIMCLR,
    ),
    Mutant(
        "simclr: reads the task's labels too early",
        f"{METHOD}:fit",
        "[split.x for split in splits if split is not None]",
        "[split.x for split in splits if split is not None][:3] + [task.train.x[task.train.labels == 0]]",
        SIMCLR,
    ),
    Mutant(
        "simclr: leaves out the pool",
        f"{METHOD}:fit",
        "(task.train, task.val, task.unlabeled)",
        "(task.train,)",
        SIMCLR,
    ),
    Mutant(
        "simclr: the head is kept",
        f"{METHOD}:_train",
        "wrapped = ctx.wrap(model)",
        ('wrapped = ctx.wrap(model)\nbackbone.body.add_module("projection", head)'),
        SIMCLR,
    ),
    Mutant("simclr: rate of AdamW in proportion", f"{METHOD}:simclr_optimizer", "math.sqrt(scale)", "scale", BY_HAND),
    Mutant(
        "simclr: a rate without effect is searched",
        f"{METHOD}:Config.lr",
        'when={"optimizer": ("adamw",)}',
        "",
        "tests/search/test_space.py::test_what_has_no_effect_is_not_searched",
    ),
    Mutant("simclr: rate of LARS whatever the batch", f"{METHOD}:simclr_optimizer", "* scale", "", BY_HAND),
    Mutant(
        "simclr: schedule by epoch",
        f"{METHOD}:_train",
        "warmup_cosine(step, steps, cfg.warmup)",
        "warmup_cosine(epoch, cfg.epochs, cfg.warmup)",
        BY_HAND,
    ),
    Mutant(
        "simclr: the head is not trained",
        f"{METHOD}:simclr_optimizer",
        "model.parameters()",
        "model[0].parameters()",
        BY_HAND,
    ),
    Mutant(
        "simclr: optimiser is not kept",
        f"{METHOD}:_train",
        "optimizer=optimizer",
        "",
        "tests/methods/test_contract.py::test_contract[resumes-simclr-pretrain]",
    ),
    Mutant("simclr: the suite's temperature is not read", f"{METHOD}:train_step", "cfg.temperature", "0.5", BY_HAND),
    Mutant(
        "lars: vectors adapt and decay",
        "tlbench.training.lars:LARS.step",
        "adapts=False",
        "adapts=True",
        LARS,
    ),
    Mutant(
        "lars: norm before decay",
        "tlbench.training.lars:LARS._move",
        '_factors(weights, updates, group["lr"], group["trust"])',
        '_factors(weights, gradients, group["lr"], group["trust"])',
        LARS,
    ),
    Mutant(
        "lars: momentum is forgotten",
        "tlbench.training.lars:LARS._move",
        'group["momentum"]',
        '0 * group["momentum"]',
        LARS,
    ),
    Mutant(
        "lars: divides by zero",
        "tlbench.training.lars:_factors",
        "torch.where(both, trust * lengths / steps, 1.0)",
        "trust * lengths / steps",
        LARS,
    ),
    Mutant(
        "views: flips for characters",
        "tlbench.training.selfsupervised.views:VIEW_POLICIES",
        "False",
        "True",
        VIEWS,
    ),
    Mutant("views: grey characters", "tlbench.training.selfsupervised.views:VIEW_POLICIES", "grey=0.0", "", VIEWS),
    Mutant(
        "views: the policy's flips are not read",
        "tlbench.training.augmentation:crop_matrices",
        "& flips",
        "",
        VIEWS,
    ),
    Mutant(
        "views: one draw for a whole batch",
        "tlbench.training.selfsupervised.views:sample_view_transforms",
        "torch.rand(count, _DRAWS, generator=generator)",
        "torch.rand(1, _DRAWS, generator=generator).expand(count, -1)",
        VIEWS,
    ),
    Mutant(
        "views: draws of the global generator",
        "tlbench.training.selfsupervised.views:sample_view_transforms",
        "generator=generator",
        "",
        VIEWS,
    ),
    Mutant(
        "views: both views alike",
        "tlbench.training.selfsupervised.views:ViewBatches.epoch",
        "[sample_view_transforms(self._policy, self._strength, len(rows), generator)"
        ".each(ctx.shard) for _ in range(2)]",
        "[sample_view_transforms(self._policy, self._strength, len(rows), generator)"
        ".each(ctx.shard) for _ in range(1)] * 2",
        VIEWS,
    ),
    Mutant(
        "views: views of one image side by side",
        "tlbench.training.selfsupervised.views:ViewBatches.epoch",
        "x.repeat(2, 1, 1, 1)",
        "x.repeat_interleave(2, 0)",
        VIEWS,
    ),
    Mutant(
        "views: jitter always",
        "tlbench.training.selfsupervised.views:sample_view_transforms",
        "jittered < _JITTERED",
        "jittered < 1",
        VIEWS,
    ),
    Mutant(
        "views: strength is not read",
        "tlbench.training.selfsupervised.views:sample_view_transforms",
        "strength * policy.strength",
        "policy.strength",
        VIEWS,
    ),
    Mutant(
        "views: crop and bend add up",
        "tlbench.training.selfsupervised.views:_compose",
        "both[:, :, 2:]",
        "inner[:, :, 2:]",
        VIEWS,
    ),
    Mutant(
        "views: photographs taken for characters",
        "tlbench.training.selfsupervised.views:view_policy",
        "shape[0] == 1",
        "shape[0] == 3",
        VIEWS,
    ),
    Mutant(
        "views: contrast about the batch's mean",
        "tlbench.training.selfsupervised.colour_jitter:jitter",
        "luma(x).mean((1, 2, 3), keepdim=True)",
        "luma(x).mean()",
        VIEWS,
    ),
    Mutant(
        "views: hue turns back",
        "tlbench.training.selfsupervised.colour_jitter:turn_hue",
        "sixth + 6 * turns.to(x)[:, None, None]",
        "sixth - 6 * turns.to(x)[:, None, None]",
        VIEWS,
    ),
    Mutant(
        "views: one width of blur for all",
        "tlbench.training.selfsupervised.blur:blur",
        ".to(x)[:, None]",
        ".mean().to(x)",
        VIEWS,
    ),
    Mutant(
        "views: a black edge is blurred in",
        "tlbench.training.selfsupervised.blur:blur",
        'mode="reflect"',
        'mode="constant"',
        VIEWS,
    ),
)
