"""Correlation alignment: how far the covariances of two domains' features lie apart.

Sun and Saenko 2016, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation", arXiv:1607.01719, section 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tlbench.training.precision import at_least_float32


def covariance_distance(source: Tensor, target: Tensor) -> Tensor:
    """Return ||C_s - C_t||_F^2 / (4 D^2) of the covariances C of two samples (n, D) and (m, D).

    Computed in single precision, also under autocast, or in double precision where the features are in it.
    """
    with torch.autocast(source.device.type, enabled=False):
        apart = _covariance(source) - _covariance(target)
    return apart.square().sum() / (4 * source.shape[1] ** 2)


def _covariance(z: Tensor) -> Tensor:
    """Return the unbiased covariance (D, D) of rows (n, D)."""
    z = at_least_float32(z)
    centred = z - z.mean(0)
    return centred.T @ centred / (len(z) - 1)
