"""Distillation losses between the logits of a student and its teacher, per example.

Every function takes logits (b, classes) in float32 or float64 and returns losses (b,). They are multiplied by the
squared temperature, since gradients fall with it: so their weight relative to the loss of the labels is independent of
the temperature.
"""

from __future__ import annotations

import torch
from torch import Tensor


def softened_kl(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(softmax(teacher / T) || softmax(student / T)): Hinton et al. 2015, arXiv:1503.02531, section 2."""
    return temperature**2 * _divergence(teacher / temperature, student / temperature)


def decoupled_kl(
    teacher: Tensor, student: Tensor, targets: Tensor, temperature: float, alpha: float, beta: float
) -> Tensor:
    """Return T^2 (alpha TCKD + beta NCKD): Zhao et al. 2022, arXiv:2203.08679, section 3.

    TCKD compares the probabilities of the target class and of all others together, NCKD the distributions over the
    other classes. With alpha = 1 and, for each example, beta = 1 - the teacher's probability of the target, it is
    :func:`softened_kl`.

    Args:
        teacher: Logits (b, classes).
        student: Logits (b, classes).
        targets: The target class of each example (b,).
        temperature: Temperature T.
        alpha: Weight of TCKD.
        beta: Weight of NCKD.
    """
    parts = zip(_parts(teacher / temperature, targets), _parts(student / temperature, targets), strict=True)
    tckd, nckd = (_divergence(*part) for part in parts)
    return temperature**2 * (alpha * tckd + beta * nckd)


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Return KL(softmax(teacher) || softmax(student)) (b,) of logits (b, n)."""
    expected = teacher.log_softmax(1)
    return (expected.exp() * (expected - student.log_softmax(1))).sum(1)


def _parts(z: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (b, 2) of the target class and all others, and logits (b, classes - 1) of the other classes."""
    others = torch.arange(z.shape[1] - 1, device=z.device).expand(len(z), -1)
    rest = z.gather(1, others + (others >= targets[:, None]))
    return torch.cat([z.gather(1, targets[:, None]), rest.logsumexp(1, keepdim=True)], 1), rest
