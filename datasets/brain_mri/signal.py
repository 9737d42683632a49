"""From tissue properties to a FLAIR image: signal equation, shading, resolution and Rician noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Tissue:
    """T1 and T2 in ms and relative proton density."""

    t1: float
    t2: float
    pd: float


@dataclass(frozen=True)
class Scanner:
    """Settings of one examination.

    Attributes:
        tr: Repetition time, ms.
        te: Effective echo time, ms.
        ti: Inversion time, ms.
        snr: White-matter signal divided by the SD of each noise channel.
        blur: SD of the point-spread function in pixels.
        gain: Receiver gain; MR magnitudes have no unit.
    """

    tr: float
    te: float
    ti: float
    snr: float
    blur: float
    gain: float


def flair(tissue: Tissue, scanner: Scanner) -> float:
    """Returns the magnitude of inversion recovery: PD |1 - 2 exp(-TI/T1) + exp(-TR/T1)| exp(-TE/T2)."""
    recovered = 1 - 2 * np.exp(-scanner.ti / tissue.t1) + np.exp(-scanner.tr / tissue.t1)
    return float(tissue.pd * abs(recovered) * np.exp(-scanner.te / tissue.t2))


def acquire(signal: Array, white: float, scanner: Scanner, rng: np.random.Generator) -> Array:
    """Blurs, adds complex noise and takes the magnitude (Gudbjartsson & Patz 1995, MRM 34:910).

    Args:
        signal: Noise-free signal, (slices, h, w).
        white: Signal of white matter, to which the SNR refers.
        scanner: Settings.
        rng: Random generator.
    """
    blurred = gaussian_filter(signal, (0, scanner.blur, scanner.blur))
    real, imaginary = rng.standard_normal((2, *signal.shape)) * (white / scanner.snr)
    return np.sqrt((blurred + real) ** 2 + imaginary**2) * scanner.gain
