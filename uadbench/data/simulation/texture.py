"""Image statistics as curves: intensities, local spread, texture autocorrelation, power by frequency.

They compare a phantom with real images (``tools/phantom_against_real.py``) and are not used by methods.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]


def shares(values: Array, edges: Array) -> Array:
    """Returns the share of the values in each bin; values outside count in the first and last bin.

    Args:
        values: Any shape.
        edges: Increasing, (n + 1,).

    Returns:
        Shares that add up to 1, (n,); all 0 without values.
    """
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return counts / max(values.size, 1)


def local_spread(image: Array, body: NDArray[np.bool_], side: int) -> Array:
    """Returns the standard deviation in every window completely inside the body, (m,).

    Args:
        image: Intensities, (h, w).
        body: True inside the body, (h, w).
        side: Side of the windows in pixels, odd.
    """
    mean = ndimage.uniform_filter(image, side, mode="nearest")
    square = ndimage.uniform_filter(image**2, side, mode="nearest")
    whole = ndimage.binary_erosion(body, np.ones((side, side), bool))
    return np.sqrt(np.maximum(square - mean**2, 0))[whole]


def grain(image: Array, body: NDArray[np.bool_], width: float) -> Array:
    """Returns the image minus its local average, 0 outside the body; the average uses only pixels inside the body.

    Args:
        image: Intensities, (h, w).
        body: True inside the body, (h, w).
        width: Standard deviation of the Gaussian window in pixels.
    """
    weight = ndimage.gaussian_filter(body.astype(np.float64), width)
    smooth = ndimage.gaussian_filter(np.where(body, image, 0.0), width) / np.maximum(weight, 1e-9)
    return np.where(body, image - smooth, 0.0)


def correlation(values: Array, body: NDArray[np.bool_], lags: int, axis: int) -> Array:
    """Returns the correlation of pixels 0, 1, ..., ``lags`` apart along an axis, both inside the body, (lags + 1,).

    Args:
        values: Intensities with mean near 0 inside the body, (h, w).
        body: True inside the body, (h, w).
        lags: Largest distance in pixels.
        axis: 0 vertical, 1 horizontal.
    """
    turned, inside = np.moveaxis(values, axis, 0), np.moveaxis(body, axis, 0)
    variance = float((turned[inside] ** 2).mean())
    result = np.ones(lags + 1)
    for lag in range(1, lags + 1):
        both = inside[lag:] & inside[:-lag]
        products = (turned[lag:] * turned[:-lag])[both]
        result[lag] = float(products.mean()) / variance if products.size and variance > 0 else np.nan
    return result


def power(image: Array, body: NDArray[np.bool_], pixel: tuple[float, float], edges: Array, soft: float = 3.0) -> Array:
    """Returns the power spectral density by frequency, averaged over directions, (n,).

    The body is windowed with a soft edge and its mean removed; the window's energy is divided out, so that white noise
    of variance v has the density v * area of a pixel at every frequency, whatever the shape of the body.

    Args:
        image: Intensities, (h, w).
        body: True inside the body, (h, w).
        pixel: Sides of a pixel, (row, column).
        edges: Frequencies in cycles per unit of ``pixel``, increasing, (n + 1,).
        soft: Width of the edge in pixels.
    """
    weight = np.clip(ndimage.distance_transform_edt(np.pad(body, 1))[1:-1, 1:-1] / soft, 0, 1)
    weight = 0.5 - 0.5 * np.cos(np.pi * weight)
    mean = float((image * weight).sum() / weight.sum())
    density = np.abs(np.fft.fft2((image - mean) * weight)) ** 2 * pixel[0] * pixel[1] / (weight**2).sum()
    rows, columns = (np.fft.fftfreq(count, side) for count, side in zip(image.shape, pixel, strict=True))
    frequency = np.hypot(rows[:, None], columns)
    which = np.digitize(frequency, edges) - 1
    inside = (which >= 0) & (which < len(edges) - 1)
    count = np.bincount(which[inside], minlength=len(edges) - 1)
    total = np.bincount(which[inside], density[inside], minlength=len(edges) - 1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
