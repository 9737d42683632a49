"""A plaque inserted into a real healthy frame: along the wall, with the speckle of the frame itself.

The texture is fully developed speckle after log compression whose grain and strength are measured on the frame itself
(half width of its autocorrelation, SD round a local mean); only the mean level is set by the plaque's class.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter

from uadbench.data.store import IGNORE

VALUES: dict[str, Any] = json.loads((Path(__file__).parent / "parameters.json").read_text())["insertion"]


def insert_plaque(
    image: NDArray[np.uint8], lumen: NDArray[np.bool_], rng: np.random.Generator, *, sham: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], str]:
    """Inserts one plaque.

    Args:
        image: Grey levels 0..255, (h, w).
        lumen: True inside the vessel, (h, w).
        rng: Draws class, angle, size and texture.
        sham: Run the whole pipeline with zero contrast: the level is that of the lumen where the plaque would lie.

    Returns:
        The frame, the truth (0, 1, IGNORE) and the class; a sham has an empty truth and the class "sham".
    """
    kind = str(rng.choice(list(VALUES["mix"]), p=list(VALUES["mix"].values())))
    region = _region(lumen, rng)
    grey = image.astype(np.float64)
    blood = float(np.median(grey[binary_erosion(lumen, iterations=2) | (lumen & region)]))
    level = blood if sham else blood + rng.uniform(*VALUES["contrast_grey"][kind])
    texture = _speckle(grey, lumen if sham else ~lumen, rng)
    # The edge is as soft as the frame's own resolution.
    soft = gaussian_filter(region.astype(float), VALUES["edge_px"])
    out = grey * (1 - soft) + soft * np.clip(level + texture, 0, 255)
    mask = np.zeros(image.shape, np.uint8)
    if kind == "calcified" and not sham:
        below = np.cumsum(region, axis=0) > 0
        loss = gaussian_filter((below & ~region).astype(float), (0, VALUES["edge_px"]))
        out = out * (1 - loss * (1 - VALUES["shadow_factor"]))
        mask[below & ~region] = IGNORE
    if not sham:
        mask[region] = 1
    return np.round(np.clip(out, 0, 255)).astype(np.uint8), mask, "sham" if sham else kind


def _region(lumen: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A crescent between wall and lumen, thickest in its middle."""
    rows, columns = np.nonzero(lumen)
    y, x = np.indices(lumen.shape)
    angle = np.arctan2(y - rows.mean(), x - columns.mean())
    diameter = 2 * np.sqrt(len(rows) / np.pi)
    half_width = np.deg2rad(rng.uniform(*VALUES["half_width_deg"]))
    thickness = diameter * rng.uniform(*VALUES["thickness_share"])
    centre = rng.uniform(-np.pi, np.pi)
    away = np.abs((angle - centre + np.pi) % (2 * np.pi) - np.pi) / half_width
    height = thickness * np.cos(np.clip(away, 0, 1) * np.pi / 2) ** 0.8
    return lumen & (away < 1) & (distance_transform_edt(lumen) < height)


def _speckle(grey: NDArray[np.float64], where: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns speckle of mean 0 with the grain of the frame and the SD that it has in the given region."""
    relative = grey - gaussian_filter(grey, 4)
    sigma = [_grain(relative, axis) for axis in (0, 1)]
    field = gaussian_filter(rng.standard_normal(grey.shape), sigma) + 1j * gaussian_filter(
        rng.standard_normal(grey.shape), sigma
    )
    level = np.log(np.abs(field) + 1e-12)
    return (level - level.mean()) / level.std() * relative[where].std()


def _grain(relative: NDArray[np.float64], axis: int) -> float:
    """Returns the SD in pixels of the Gaussian whose speckle has the autocorrelation of the frame along an axis.

    The envelope's autocorrelation is exp(-d**2 / (2 sigma**2)), one half at d = 1.18 sigma.
    """
    power = np.abs(np.fft.rfft(relative, axis=axis)) ** 2
    correlation = np.fft.irfft(power.sum(axis=1 - axis))
    below = np.flatnonzero(correlation[1:20] < correlation[0] / 2)
    return (int(below[0]) + 1 if len(below) else 4) / 1.18
