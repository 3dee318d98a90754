"""Temperature scaling: one number by which logits are divided, so that confidences are frequencies.

Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599, section 4.2. It is
fitted by likelihood on examples that the model was not fitted to; answers stay the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import softmax


def fit_temperature(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float | None:
    """Return the temperature of the largest likelihood; None where there is none.

    The likelihood is concave in the inverse temperature. It has no maximum where every answer is right: it grows as
    the temperature falls to zero. Nor has it one where the logits of the true class are no larger than others on
    average: no temperature is too high then.

    Args:
        logits: Logits (n, classes).
        labels: Labels (n,).
    """
    scores = np.asarray(logits, np.float64)
    truth = scores[np.arange(len(labels)), labels]
    if len(labels) == 0 or (truth >= scores.max(1)).all() or scores.mean(1).mean() >= truth.mean():
        return None

    def slope(inverse: float) -> float:
        """Return the derivative of the mean negative log-likelihood; it grows, from below zero to above."""
        return float(np.mean((softmax(inverse * scores, axis=1) * scores).sum(1) - truth))

    high = 1.0
    while slope(high) <= 0 and high < _MOST:
        high *= 2
    low = min(1.0, high / 2)
    while slope(low) >= 0 and low > 1 / _MOST:
        low /= 2
    return None if slope(low) * slope(high) >= 0 else float(1 / brentq(slope, low, high, xtol=1e-14, rtol=1e-12))


_MOST = 2.0**40
