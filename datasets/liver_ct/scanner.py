"""Quantum noise of a CT slice: photons along rays, filtered and back-projected.

Noise of equal strength everywhere would be wrong in two ways that affect detectors: it is strongest in the middle of
the body, and rays through much bone or along the long axis leave streaks. Both follow when noise is added to line
integrals (Riederer, Pelc and Chesler 1978) and goes through the filter of the reconstruction.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[np.floating]


def quantum_noise(
    hu: Array,
    pixel_mm: float,
    *,
    views: int,
    water_per_mm: float,
    photons: float,
    electronic: float,
    rng: np.random.Generator,
) -> Array:
    """Returns the noise of a scan of each slice, in units that the caller scales to its noise index.

    Args:
        hu: Hounsfield units without noise, (n, h, h).
        pixel_mm: Side of a pixel.
        views: Directions over half a turn.
        water_per_mm: Attenuation of water.
        photons: Photons per ray of the weakest view before the patient.
        electronic: Standard deviation of the detector noise, in photons.
        rng: Random generator.

    Returns:
        float64 of shape (n, h, h).
    """
    count, size = hu.shape[:2]
    project = projector(size, views)
    attenuation = np.maximum(0, water_per_mm * (1 + hu / 1000)).reshape(count, -1) * pixel_mm
    lines = (project @ attenuation.T).T.reshape(count, views, -1)
    # Tube current: the square root of the view's largest attenuation (Gies et al. 1999), normalised over views.
    strongest = lines.max(axis=2, keepdims=True)
    current = np.exp(0.5 * (strongest - strongest.min(axis=1, keepdims=True)))
    arriving = photons * current * np.exp(-lines)
    spread = np.sqrt(1 / arriving + (electronic / arriving) ** 2)
    # Photon-starved rays are clamped by the scanner's correction; otherwise the logarithm has no variance.
    noisy = np.minimum(spread, 1.0) * rng.standard_normal(lines.shape)
    bins = lines.shape[2]
    length = 2 * bins
    frequency = np.fft.rfftfreq(length)
    # The ramp up to the grid's own limit, because 3 mm pixels are averages of finer ones; the interpolation of the
    # back-projection (sinc squared) is undone, or neighbours would be far more alike than in a scan.
    response = frequency / np.sinc(frequency) ** 2
    filtered = np.fft.irfft(np.fft.rfft(noisy, length, axis=2) * response, axis=2)[..., :bins]
    image = (project.T @ filtered.reshape(count, -1).T).T
    return image.reshape(hu.shape)


@cache
def projector(size: int, views: int) -> sparse.csr_matrix:
    """Returns parallel-beam projection as a matrix, (views * bins, size * size): pixels split between two rays."""
    bins = int(np.ceil(size * np.sqrt(2))) + 2
    y, x = (np.indices((size, size), dtype=np.float64) - (size - 1) / 2).reshape(2, -1)
    rows, columns, weights = [], [], []
    pixels = np.arange(size * size)
    for view in range(views):
        angle = np.pi * view / views
        place = x * np.cos(angle) + y * np.sin(angle) + (bins - 1) / 2
        low = np.floor(place).astype(int)
        share = place - low
        for ray, weight in ((low, 1 - share), (low + 1, share)):
            rows.append(view * bins + ray)
            columns.append(pixels)
            weights.append(weight)
    values = np.concatenate(weights)
    index = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_matrix((values, index), shape=(views * bins, size * size))
