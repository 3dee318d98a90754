"""Correlation alignment: the distance between the covariances of two domains' features.

Sun and Saenko 2016, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation", arXiv:1607.01719, section 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tlbench.training.precision import at_least_float32


def covariance_distance(source: Tensor, target: Tensor) -> Tensor:
    """Return ||C_s - C_t||_F^2 / (4 D^2) for the covariances C of two samples (n, D) and (m, D).

    Computed in float32, also under autocast, or in float64 if the features are in float64.
    """
    with torch.autocast(source.device.type, enabled=False):
        difference = _covariance(source) - _covariance(target)
    return difference.square().sum() / (4 * source.shape[1] ** 2)


def _covariance(z: Tensor) -> Tensor:
    """Return the unbiased covariance (D, D) of rows (n, D)."""
    z = at_least_float32(z)
    centred = z - z.mean(0)
    return centred.T @ centred / (len(z) - 1)
