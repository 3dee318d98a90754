"""Mutants of distillation: its losses, and what the student and its teacher are shown."""

from __future__ import annotations

from mutant import Mutant

DISTILLATION = "tests/methods/test_distillation.py"
METHOD, LOSSES = "methods/distillation.py", "training/distillation_losses.py"

MUTANTS = (
    Mutant(
        "distillation: no squared temperature",
        LOSSES,
        "return temperature**2 * _divergence(",
        "return _divergence(",
        DISTILLATION,
    ),
    Mutant(
        "distillation: mean over classes too",
        LOSSES,
        "(expected - own.log_softmax(1))).sum(1)",
        "(expected - own.log_softmax(1))).mean(1)",
        DISTILLATION,
    ),
    Mutant(
        "distillation: divergence the other way round",
        LOSSES,
        "_divergence(teacher / temperature, student / temperature)",
        "_divergence(student / temperature, teacher / temperature)",
        DISTILLATION,
    ),
    Mutant(
        "distillation: student not softened",
        LOSSES,
        "_divergence(teacher / temperature, student / temperature)",
        "_divergence(teacher / temperature, student)",
        DISTILLATION,
    ),
    Mutant(
        "distillation: teacher in training mode",
        METHOD,
        "return teacher(batch.x)",
        "return teacher.train()(batch.x)",
        DISTILLATION,
    ),
    Mutant(
        "distillation: teacher among the student's modules",
        METHOD,
        "    groups = parameter_groups(",
        "    model.teacher = ctx.teacher\n    groups = parameter_groups(",
        DISTILLATION,
    ),
    Mutant(
        "distillation: teacher in inference mode",
        METHOD,
        "with torch.no_grad(),",
        "with torch.inference_mode(),",
        DISTILLATION,
    ),
    Mutant("distillation: teacher with gradients", METHOD, "with torch.no_grad(), ctx", "with ctx", DISTILLATION),
    Mutant(
        "distillation: teacher never in mixed precision",
        METHOD,
        "with torch.no_grad(), ctx.autocast():",
        "with torch.no_grad():",
        DISTILLATION,
    ),
    Mutant(
        "distillation: losses in the teacher's precision",
        METHOD,
        "answers(batch).to(student.dtype)",
        "answers(batch)",
        DISTILLATION,
    ),
    Mutant(
        "distillation: kept answers where images are moved",
        METHOD,
        'if cfg.augment == "none":',
        "if True:",
        DISTILLATION,
    ),
    Mutant("distillation: teacher asked every epoch", METHOD, 'if cfg.augment == "none":', "if False:", DISTILLATION),
    Mutant(
        "distillation: kept answers out of order",
        METHOD,
        "known[batch.rows.to(known.device)]",
        "known[: len(batch.rows)]",
        DISTILLATION,
    ),
    Mutant(
        "distillation: weights changed over",
        METHOD,
        "cfg.hard_weight * hard + (1 - cfg.hard_weight) * soft",
        "(1 - cfg.hard_weight) * hard + cfg.hard_weight * soft",
        DISTILLATION,
    ),
    Mutant(
        "distillation: hard term of unknown labels",
        METHOD,
        ", cfg.smoothing) * known",
        ", cfg.smoothing)",
        DISTILLATION,
    ),
    Mutant(
        "distillation: no label smoothing",
        METHOD,
        "smoothed(student, targets, cfg.smoothing)",
        "smoothed(student, targets, 0.0)",
        DISTILLATION,
    ),
    Mutant(
        "distillation: teacher's choice in place of the label",
        METHOD,
        "torch.where(known, batch.y, teacher.argmax(1))",
        "teacher.argmax(1)",
        DISTILLATION,
    ),
    Mutant(
        "distillation: unlabelled images unasked for",
        METHOD,
        'if cfg.transfer == "all" else task.train',
        "if True else task.train",
        DISTILLATION,
    ),
    Mutant(
        "distillation: unlabelled images forgotten",
        METHOD,
        "train = _with_unlabeled(task) if",
        "train = task.train if",
        DISTILLATION,
    ),
    Mutant(
        "distillation: parts of dkd changed over",
        LOSSES,
        "alpha * target + beta * others",
        "beta * target + alpha * others",
        DISTILLATION,
    ),
    Mutant("distillation: dkd without squared temperature", LOSSES, "temperature**2 * (alpha", "(alpha", DISTILLATION),
    Mutant(
        "distillation: target among the others",
        LOSSES,
        "others + (others >= targets[:, None])",
        "others + 0 * targets[:, None]",
        DISTILLATION,
    ),
    Mutant(
        "distillation: full budget not refused",
        METHOD,
        'if cfg.transfer == "all" and info.shots == "full":',
        "if False:",
        DISTILLATION,
    ),
    Mutant(
        "distillation: teacher is kept with the student",
        METHOD,
        "list(model.parameters()))",
        "[*model.parameters(), *(ctx.teacher or model).parameters()])",
        DISTILLATION,
    ),
)
