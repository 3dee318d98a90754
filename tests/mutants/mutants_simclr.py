"""Mutants of SimCLR: its loss, its views, LARS, and what it may read and leave behind."""

from __future__ import annotations

from mutant import Mutant

LOSS, LARS = "tests/training/test_contrastive.py", "tests/training/test_lars.py"
VIEWS, SIMCLR = "tests/training/test_views.py", "tests/methods/test_simclr.py"
TOGETHER = f"{SIMCLR}::test_two_processes_train_as_one_does"
BY_HAND = f"{SIMCLR}::test_training_is_the_papers_written_out"
CONTRASTIVE, METHOD = "training/selfsupervised/contrastive.py", "methods/simclr.py"

MUTANTS = (
    Mutant("nt-xent: keeps the diagonal", CONTRASTIVE, "    s.scatter_(1, own[:, None], -torch.inf)\n", "", LOSS),
    Mutant("nt-xent: positives at i + 1", CONTRASTIVE, "(own + len(z) // 2) % len(z)", "(own + 1) % len(z)", LOSS),
    Mutant(
        "nt-xent: skips normalisation",
        CONTRASTIVE,
        "    z = normalize(z if z.dtype == torch.float64 else z.float(), dim=1)\n",
        "    z = z if z.dtype == torch.float64 else z.float()\n",
        LOSS,
    ),
    Mutant("nt-xent: temperature multiplies", CONTRASTIVE, "/ temperature @ z.T", "* temperature @ z.T", LOSS),
    Mutant("nt-xent: similarities in low precision", CONTRASTIVE, ", enabled=False", "", LOSS),
    Mutant(
        "nt-xent: rows name no view",
        CONTRASTIVE,
        "torch.arange(len(z), device=z.device) if rows is None else rows",
        "torch.arange(len(z) if rows is None else len(rows), device=z.device)",
        LOSS,
    ),
    Mutant("spread: pairs of one image for all", CONTRASTIVE, "torch.pdist(first)", "(first - second)", LOSS),
    Mutant(
        "simclr: no gradient through the gathering",
        CONTRASTIVE,
        "pairs = join(torch.cat(z.tensor_split(2), 1), count, ctx)",
        "pairs = join(torch.cat(z.tensor_split(2), 1), count, ctx).detach()",
        TOGETHER,
    ),
    Mutant(
        "simclr: gathered views are interleaved",
        CONTRASTIVE,
        "torch.cat(pairs.tensor_split(2, 1))",
        "pairs.reshape(2 * count, -1)",
        TOGETHER,
    ),
    Mutant("simclr: second views of another process", METHOD, "[own, own + count]", "[own, own + len(own)]", TOGETHER),
    Mutant(
        "simclr: statistics of each process in the head",
        METHOD,
        "wrapped = ctx.wrap(model)",
        "wrapped = nn.Sequential(ctx.wrap(backbone), head)",
        TOGETHER,
    ),
    Mutant(
        "simclr: two separate forwards",
        METHOD,
        "own = model(batch.x)",
        "own = torch.cat([model(part) for part in batch.x.chunk(2)])",
        SIMCLR,
    ),
    Mutant(
        "simclr: reads the corpus's labels",
        METHOD,
        "_train(corpus.x, ",
        "_train(corpus.x if corpus.y is None else corpus.x[np.argsort(corpus.labels, kind='stable')], ",
        SIMCLR,
    ),
    Mutant(
        "simclr: reads the task's labels too early",
        METHOD,
        "for split in splits if split is not None]",
        "for split in splits if split is not None][:3] + [task.train.x[task.train.labels == 0]]",
        SIMCLR,
    ),
    Mutant("simclr: leaves out the pool", METHOD, "(task.train, task.val, task.unlabeled)", "(task.train,)", SIMCLR),
    Mutant(
        "simclr: the head is kept",
        METHOD,
        "    wrapped = ctx.wrap(model)\n",
        '    wrapped = ctx.wrap(model)\n    backbone.body.add_module("projection", head)\n',
        SIMCLR,
    ),
    Mutant("simclr: rate of AdamW in proportion", METHOD, "cfg.lr * math.sqrt(scale)", "cfg.lr * scale", BY_HAND),
    Mutant(
        "simclr: a rate without effect is searched",
        METHOD,
        'when={"optimizer": ("adamw",)},',
        "",
        "tests/search/test_space.py::test_what_has_no_effect_is_not_searched",
    ),
    Mutant("simclr: rate of LARS whatever the batch", METHOD, "cfg.lars_lr * scale", "cfg.lars_lr", BY_HAND),
    Mutant(
        "simclr: schedule by epoch",
        METHOD,
        "warmup_cosine(step, steps, cfg.warmup)",
        "warmup_cosine(epoch, cfg.epochs, cfg.warmup)",
        BY_HAND,
    ),
    Mutant(
        "simclr: the head is not trained", METHOD, "(model.parameters(), lr)", "(model[0].parameters(), lr)", BY_HAND
    ),
    Mutant(
        "simclr: optimiser is not kept",
        METHOD,
        ', name="pretrain", optimizer=optimizer)',
        ', name="pretrain")',
        "tests/methods/test_contract.py::test_contract[resumes-simclr-pretrain]",
    ),
    Mutant(
        "simclr: the suite's temperature is not read", METHOD, "nt_xent(z, cfg.temperature,", "nt_xent(z, 0.5,", BY_HAND
    ),
    Mutant("lars: vectors adapt and decay", "training/selfsupervised/lars.py", "adapts=False)", "adapts=True)", LARS),
    Mutant(
        "lars: norm before decay",
        "training/selfsupervised/lars.py",
        "_factors(weights, updates,",
        "_factors(weights, gradients,",
        LARS,
    ),
    Mutant(
        "lars: momentum is forgotten",
        "training/selfsupervised/lars.py",
        "_foreach_mul_(kept, group[",
        "_foreach_mul_(kept, 0 * group[",
        LARS,
    ),
    Mutant(
        "lars: divides by zero",
        "training/selfsupervised/lars.py",
        "torch.where(both, trust * lengths / steps, 1.0)",
        "(trust * lengths / steps)",
        LARS,
    ),
    Mutant(
        "views: flips for characters",
        "training/selfsupervised/views.py",
        "least=0.7, flips=False",
        "least=0.7, flips=True",
        VIEWS,
    ),
    Mutant("views: grey characters", "training/selfsupervised/views.py", "bend=0.7, grey=0.0", "bend=0.7", VIEWS),
    Mutant(
        "views: the policy's flips are not read",
        "training/augmentation.py",
        "(drawn[:, 4] < 0.5) & flips",
        "drawn[:, 4] < 0.5",
        VIEWS,
    ),
    Mutant(
        "views: one draw for a whole batch",
        "training/selfsupervised/views.py",
        "u = torch.rand(count, _DRAWS, generator=generator)",
        "u = torch.rand(1, _DRAWS, generator=generator).expand(count, -1)",
        VIEWS,
    ),
    Mutant(
        "views: draws of the global generator",
        "training/selfsupervised/views.py",
        "torch.rand(count, _DRAWS, generator=generator)",
        "torch.rand(count, _DRAWS)",
        VIEWS,
    ),
    Mutant(
        "views: both views alike",
        "training/selfsupervised/views.py",
        "for _ in range(2)]",
        "for _ in range(1)] * 2",
        VIEWS,
    ),
    Mutant(
        "views: views of one image side by side",
        "training/selfsupervised/views.py",
        "x.repeat(2, 1, 1, 1)",
        "x.repeat_interleave(2, 0)",
        VIEWS,
    ),
    Mutant("views: jitter always", "training/selfsupervised/views.py", "jittered < _JITTERED", "jittered < 1", VIEWS),
    Mutant(
        "views: strength is not read",
        "training/selfsupervised/views.py",
        "strength * policy.strength *",
        "policy.strength *",
        VIEWS,
    ),
    Mutant(
        "views: crop and bend add up",
        "training/selfsupervised/views.py",
        "both[:, :, 2:] + slide",
        "inner[:, :, 2:] + slide",
        VIEWS,
    ),
    Mutant(
        "views: photographs taken for characters",
        "training/selfsupervised/views.py",
        "if shape[0] == 1",
        "if shape[0] == 3",
        VIEWS,
    ),
    Mutant(
        "views: contrast about the batch's mean",
        "training/selfsupervised/colour_jitter.py",
        "luma(x).mean((1, 2, 3), keepdim=True)",
        "luma(x).mean()",
        VIEWS,
    ),
    Mutant(
        "views: hue turns back",
        "training/selfsupervised/colour_jitter.py",
        "sixth + 6 * turns",
        "sixth - 6 * turns",
        VIEWS,
    ),
    Mutant(
        "views: one width of blur for all",
        "training/selfsupervised/blur.py",
        "sigma[chosen].to(x)[:, None]",
        "sigma[chosen].mean().to(x)",
        VIEWS,
    ),
    Mutant(
        "views: a black edge is blurred in",
        "training/selfsupervised/blur.py",
        'mode="reflect"',
        'mode="constant"',
        VIEWS,
    ),
)
