"""How far a student's logits are from its teacher's, softened by a temperature, example by example.

Every function takes logits (b, classes) of one type, single or double precision, and returns losses (b,). They scale
with the temperature squared, as their gradients fall with it: so their weight beside the labels' loss need not follow
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

    TCKD compares the probabilities of the target and of all else, NCKD those of the other classes among themselves.
    With alpha = 1 and, for each example, beta = 1 - the teacher's probability of the target, it is :func:`softened_kl`.

    Args:
        teacher: Logits (b, classes).
        student: Logits (b, classes).
        targets: The target class of each example (b,).
        temperature: T.
        alpha: Weight of the target's part.
        beta: Weight of the other classes' part.
    """
    given, own = _parts(teacher / temperature, targets), _parts(student / temperature, targets)
    target, others = (_divergence(*both) for both in zip(given, own, strict=True))
    return temperature**2 * (alpha * target + beta * others)


def _divergence(given: Tensor, own: Tensor) -> Tensor:
    """Return KL(softmax(given) || softmax(own)) of logits (b, n), as (b,)."""
    expected = given.log_softmax(1)
    return (expected.exp() * (expected - own.log_softmax(1))).sum(1)


def _parts(z: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (b, 2) of target against all else, and logits (b, classes - 1) of the other classes."""
    others = torch.arange(z.shape[1] - 1, device=z.device).expand(len(z), -1)
    rest = z.gather(1, others + (others >= targets[:, None]))
    return torch.cat([z.gather(1, targets[:, None]), rest.logsumexp(1, keepdim=True)], 1), rest
