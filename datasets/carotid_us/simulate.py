"""A B-mode image from an echogenicity map: scatterers, point-spread function, envelope, log compression.

The chain is the usual first-order model (speckle as filtered circular Gaussian scatterers; Wagner et al. 1983; Bamber &
Dickinson 1980): complex scatterers weighted by local echogenicity are convolved with a point-spread function that is
narrow along the beam and widens away from the focus; the envelope's logarithm is shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from uadbench.core.rounding import rounded

OVERSAMPLE = 2


@dataclass(frozen=True)
class Scanner:
    """Settings of one examination.

    Attributes:
        pixel_mm: Pixel of the image.
        axial_mm: SD of the point-spread function along the beam.
        lateral_mm: Its SD across the beam at the focus.
        compound_mm: SD of the smoothing of the envelope by compounding and scan conversion.
        focus_mm: Depth of the focus.
        spread: Relative widening of the beam 10 mm away from the focus.
        loss_db_mm: Attenuation left by the time-gain compensation, dB per mm, negative if it over-compensates.
        gain_db: Overall gain.
        range_db: Dynamic range shown.
        noise_db: Level of electronic noise.
    """

    pixel_mm: float
    axial_mm: float
    lateral_mm: float
    compound_mm: float
    focus_mm: float
    spread: float
    loss_db_mm: float
    gain_db: float
    range_db: float
    noise_db: float


def bmode(
    diffuse_db: NDArray[np.float64],
    specular_db: NDArray[np.float64],
    shadow_db: NDArray[np.float64],
    top_mm: float,
    scanner: Scanner,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Simulates one frame.

    Args:
        diffuse_db: Scattering strength on the oversampled grid (2h, 2w), dB.
        specular_db: Strength of interfaces on the same grid, dB; -inf elsewhere.
        shadow_db: Additional loss due to tissue above, dB (positive attenuates, negative enhances).
        top_mm: Depth of the first row.
        scanner: Settings.
        rng: Random generator.

    Returns:
        Grey levels 0..255, uint8 (h, w).
    """
    shape = diffuse_db.shape
    step = scanner.pixel_mm / OVERSAMPLE
    field = _gaussian(shape, rng) * 10 ** (diffuse_db / 20)
    # An interface is many scatterers in phase along its tangent: with slowly varying phase it is a line, not speckle.
    phase = gaussian_filter(rng.standard_normal(shape), 10)
    phase *= 0.6 * np.pi / phase.std()
    field = field + (np.cos(phase) + 1j * np.sin(phase)) * 10 ** (specular_db / 20)
    depth = top_mm + step * np.arange(shape[0])
    field = _convolve(field, depth, step, scanner)
    loss = shadow_db + scanner.loss_db_mm * (depth - scanner.focus_mm)[:, None]
    field = field * 10 ** (-loss / 20)
    envelope = np.abs(field + _gaussian(shape, rng) * 10 ** (scanner.noise_db / 20))
    envelope = gaussian_filter(envelope, scanner.compound_mm / step)
    level = 20 * np.log10(envelope + 1e-9) + scanner.gain_db
    grey = np.clip(1 + level / scanner.range_db, 0, 1)
    h, w = shape[0] // OVERSAMPLE, shape[1] // OVERSAMPLE
    small = grey.reshape(h, OVERSAMPLE, w, OVERSAMPLE).mean(axis=(1, 3))
    return rounded("grey level", 255 * small).astype(np.uint8)


def _gaussian(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.complex128]:
    """Returns circular complex Gaussian noise of unit power."""
    parts = rng.standard_normal((2, *shape)) / np.sqrt(2)
    return parts[0] + 1j * parts[1]


def _convolve(
    field: NDArray[np.complex128], depth: NDArray[np.float64], step: float, scanner: Scanner
) -> NDArray[np.complex128]:
    """Convolves with a point-spread function whose width varies with depth, normalised to unit speckle power."""
    widths = scanner.lateral_mm * (1 + scanner.spread * np.array([0.0, 1.0, 2.0]))
    planes = []
    for width in widths:
        sigma = (scanner.axial_mm / step, width / step)
        blurred = gaussian_filter(field.real, sigma) + 1j * gaussian_filter(field.imag, sigma)
        # The blur reduces the variance of white scatterers by 4 pi s_a s_l.
        planes.append(blurred * np.sqrt(4 * np.pi * sigma[0] * sigma[1]))
    away = np.clip(np.abs(depth - scanner.focus_mm) / 10, 0, 2)
    weights = np.maximum(0, 1 - np.abs(away[None] - np.array([0.0, 1.0, 2.0])[:, None]))
    return sum((w[:, None] * plane for w, plane in zip(weights, planes, strict=True)), np.zeros_like(field))
