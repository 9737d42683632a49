"""Statistics of a volume by which its scale is chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uadbench.data.preprocessing.body import background_level
from uadbench.data.preprocessing.brain import RINGING

CT_FLOOR = -100.0
"""Volumes with values below this are assumed to be CT in HU, because magnitudes are not negative."""


@dataclass(frozen=True)
class Look:
    """Statistics of the values of a volume.

    Attributes:
        low: Minimum.
        high: Maximum.
        top: 99th percentile.
        level: The constant value of its background; None if it has none.
        modality: Modality in the DICOM header.
        negative: Share of the values apart from the background that are negative.
    """

    low: float
    high: float
    top: float
    level: float | None
    modality: str
    negative: float = 0.0

    @property
    def is_ct(self) -> bool:
        """Whether header or values indicate CT."""
        if self.modality:
            return self.modality == "CT"
        return self.low <= CT_FLOOR and -self.low > RINGING * abs(self.top)

    @property
    def is_padded(self) -> bool:
        """Whether the background is negative and nothing else is: padding, below the zero of magnitudes."""
        return self.level is not None and self.level < 0 and self.negative == 0

    def magnitudes(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns MR values above their zero, which is that of the background unless it is padding."""
        return np.maximum(data, 0) if self.is_padded else data - np.float32(self.level or 0.0)


def look_at(data: NDArray[np.float32], modality: str = "") -> Look:
    """Returns the statistics of a volume (x, y, z)."""
    level = background_level(data)
    others = data if level is None else data[data != np.float32(level)]
    negative = float((others < 0).mean()) if others.size else 0.0
    return Look(float(data.min()), float(data.max()), float(np.quantile(data, 0.99)), level, modality, negative)
