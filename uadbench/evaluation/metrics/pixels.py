"""Metrics of one case: overlap at a threshold, image score, ceilings, quality outside the lesion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True)
class Overlap:
    """Counts of a binary prediction against the truth.

    Attributes:
        tp: Lesion pixels predicted.
        fp: Normal pixels predicted.
        fn: Lesion pixels missed.
        tn: Normal pixels not predicted.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @classmethod
    def of(cls, prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Overlap:
        """Counts over pixels of the same shape."""
        tp = int(np.count_nonzero(prediction & truth))
        predicted, positive = int(np.count_nonzero(prediction)), int(np.count_nonzero(truth))
        return cls(tp, predicted - tp, positive - tp, truth.size - predicted - positive + tp)

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN); NaN without lesion."""
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn) if self.tp + self.fn else math.nan

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN); NaN without lesion."""
        return self.tp / (self.tp + self.fp + self.fn) if self.tp + self.fn else math.nan

    @property
    def precision(self) -> float:
        """TP / (TP + FP); 0 for an empty prediction, NaN without lesion."""
        if not self.tp + self.fn:
            return math.nan
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else 0.0

    @property
    def recall(self) -> float:
        """TP / (TP + FN); NaN without lesion."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else math.nan

    @property
    def fpr(self) -> float:
        """FP / (FP + TN); NaN if every pixel is lesion."""
        return self.fp / (self.fp + self.tn) if self.fp + self.tn else math.nan


def dice_ceiling(lesion: int, body: int, rate: float) -> float:
    """Returns the Dice of a perfect detector that also marks the share ``rate`` of the normal pixels.

    2L / (2L + a (B - L)) with L lesion and B body pixels (docs/protocol.md).
    """
    return 2 * lesion / (2 * lesion + rate * (body - lesion)) if lesion else math.nan


def top_mean(values: NDArray[np.float32], fraction: float) -> float:
    """Returns the mean of the largest ``fraction`` of the values, at least one of them."""
    count = max(1, math.ceil(fraction * values.size))
    return float(np.partition(values, values.size - count)[values.size - count :].mean(dtype=np.float64))


def ssim_map(first: NDArray[np.float32], second: NDArray[np.float32], data_range: float) -> NDArray[np.float64]:
    """Returns the structural similarity at every pixel of two (n, h, w) images, slice by slice.

    Wang et al. 2004, eq. 13, with its Gaussian window (sigma 1.5, 11 pixels wide) and constants.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)

    def blur(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return ndimage.gaussian_filter(image, sigma=(0, 1.5, 1.5), radius=(0, 5, 5))

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance * (2 * covariance + c2) / (var_a + var_b + c2)


def outside(lesion: NDArray[np.bool_], scored: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Returns the scored pixels farther than ``reach`` pixels (chessboard) from any lesion pixel of their slice."""
    width = 2 * reach + 1
    return scored & ~ndimage.maximum_filter(lesion, size=(1, width, width))
