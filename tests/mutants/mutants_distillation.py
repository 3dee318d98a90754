"""Mutants of distillation: its losses, and what the student and its teacher are shown."""

from __future__ import annotations

from mutant import Mutant

DISTILLATION = "tests/methods/test_distillation.py"
METHOD, LOSSES = "tlbench.methods.distillation", "tlbench.training.distillation_losses"

MUTANTS = (
    Mutant(
        "distillation: no squared temperature",
        f"{LOSSES}:softened_kl",
        "temperature**2 * _divergence(teacher / temperature, student / temperature)",
        "_divergence(teacher / temperature, student / temperature)",
        DISTILLATION,
    ),
    Mutant(
        "distillation: mean over classes too",
        f"{LOSSES}:_divergence",
        ".sum(1)",
        ".mean(1)",
        DISTILLATION,
    ),
    Mutant(
        "distillation: divergence the other way round",
        f"{LOSSES}:softened_kl",
        "_divergence(teacher / temperature, student / temperature)",
        "_divergence(student / temperature, teacher / temperature)",
        DISTILLATION,
    ),
    Mutant(
        "distillation: student not softened",
        f"{LOSSES}:softened_kl",
        "student / temperature",
        "student",
        DISTILLATION,
    ),
    Mutant(
        "distillation: teacher in training mode",
        "tlbench.methods.distillation:_teacher_logits.predict",
        "teacher(batch.x)",
        "teacher.train()(batch.x)",
        DISTILLATION,
    ),
    Mutant(
        "distillation: teacher among the student's modules",
        f"{METHOD}:fit",
        "model = Classifier(backbone, task.info.classes)",
        ("model = Classifier(backbone, task.info.classes)\nmodel.teacher = ctx.teacher"),
        DISTILLATION,
    ),
    Mutant(
        "distillation: teacher in inference mode",
        "tlbench.methods.distillation:_teacher_logits.predict",
        "torch.no_grad()",
        "torch.inference_mode()",
        DISTILLATION,
    ),
    Mutant(
        "distillation: teacher with gradients",
        "tlbench.methods.distillation:_teacher_logits.predict",
        "with torch.no_grad(), ctx.autocast():",
        "with ctx.autocast():",
        DISTILLATION,
    ),
    Mutant(
        "distillation: teacher never in mixed precision",
        "tlbench.methods.distillation:_teacher_logits.predict",
        "with torch.no_grad(), ctx.autocast():",
        "with torch.no_grad():",
        DISTILLATION,
    ),
    Mutant(
        "distillation: losses in the teacher's precision",
        f"{METHOD}:DistillationLoss.__call__",
        ".to(student.dtype)",
        "",
        DISTILLATION,
    ),
    Mutant(
        "distillation: kept answers where images are moved",
        f"{METHOD}:_teacher_logits",
        "if not usual_augmentation(cfg, [train], ctx).changes_images:",
        "if True:",
        DISTILLATION,
    ),
    Mutant(
        "distillation: teacher asked every epoch",
        f"{METHOD}:_teacher_logits",
        "if not usual_augmentation(cfg, [train], ctx).changes_images:",
        "if False:",
        DISTILLATION,
    ),
    Mutant(
        "distillation: kept answers out of order",
        f"{METHOD}:_teacher_logits",
        "logits[batch.rows.to(logits.device)]",
        "logits[:len(batch.rows)]",
        DISTILLATION,
    ),
    Mutant(
        "distillation: weights changed over",
        f"{METHOD}:DistillationLoss._losses",
        "self._hard * hard + self._soft * soft",
        "self._soft * hard + self._hard * soft",
        DISTILLATION,
    ),
    Mutant(
        "distillation: hard term of unknown labels",
        f"{METHOD}:DistillationLoss._losses",
        "* labelled",
        "",
        DISTILLATION,
    ),
    Mutant(
        "distillation: no label smoothing",
        f"{METHOD}:DistillationLoss._losses",
        "cfg.smoothing",
        "0.0",
        DISTILLATION,
    ),
    Mutant(
        "distillation: teacher's choice in place of the label",
        f"{METHOD}:DistillationLoss._losses",
        "torch.where(labelled, y, teacher.argmax(1))",
        "teacher.argmax(1)",
        DISTILLATION,
    ),
    Mutant(
        "distillation: unlabelled images unasked for",
        f"{METHOD}:fit",
        'cfg.transfer == "all"',
        "True",
        DISTILLATION,
    ),
    Mutant(
        "distillation: unlabelled images forgotten",
        f"{METHOD}:fit",
        "_with_unlabeled(task)",
        "task.train",
        DISTILLATION,
    ),
    Mutant(
        "distillation: parts of dkd changed over",
        f"{LOSSES}:decoupled_kl",
        "alpha * tckd + beta * nckd",
        "beta * tckd + alpha * nckd",
        DISTILLATION,
    ),
    Mutant(
        "distillation: dkd without squared temperature",
        f"{LOSSES}:decoupled_kl",
        "temperature**2 * (alpha * tckd + beta * nckd)",
        "alpha * tckd + beta * nckd",
        DISTILLATION,
    ),
    Mutant(
        "distillation: target among the others",
        f"{LOSSES}:_parts",
        "others >= targets[:, None]",
        "0 * targets[:, None]",
        DISTILLATION,
    ),
    Mutant(
        "distillation: full budget not refused",
        f"{METHOD}:skip",
        'if cfg.transfer == "all" and info.shots == "full":',
        "if False:",
        DISTILLATION,
    ),
    Mutant(
        "distillation: teacher is kept with the student",
        f"{METHOD}:fit",
        "list(model.parameters())",
        "[*model.parameters(), *(ctx.teacher or model).parameters()]",
        DISTILLATION,
    ),
)
