"""A plaque inserted into a real healthy frame: along the wall, with the speckle of the frame.

The texture is fully developed speckle whose size (half width of the autocorrelation), local SD and distribution are
measured on the frame, in its tissue for a plaque and in its lumen for a sham; the class sets only the contrast.
sham_control.py measures how well a classifier separates shams from unchanged frames.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.stats import rankdata

from uadbench.core.rounding import above, rounded
from uadbench.data.storage.store import IGNORE

VALUES: dict[str, Any] = json.loads((Path(__file__).parent / "parameters.json").read_text())["insertion"]
LOCAL_PX = 4.0  # SD of local means: a few speckles
DEPTH_PX = 30  # beyond this depth below the wall the lumen no longer changes with depth
SOFT_LEAST = 1e-3  # weights below it change no grey level


def insert_plaque(
    image: NDArray[np.uint8], lumen: NDArray[np.bool_], rng: np.random.Generator, *, sham: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], str]:
    """Inserts one plaque.

    Args:
        image: Grey levels 0..255, (h, w).
        lumen: True inside the vessel, (h, w).
        rng: Draws class, angle, size and texture.
        sham: Run the whole pipeline with zero contrast and the texture of the lumen.

    Returns:
        The frame, the mask (0, 1, IGNORE) and the class; a sham has an empty mask and the class "sham".
    """
    kind = str(rng.choice(list(VALUES["mix"]), p=list(VALUES["mix"].values())))
    region = _region(lumen, rng)
    grey = image.astype(np.float64)
    contrast = 0.0 if sham else rng.uniform(*VALUES["contrast_grey"][kind])
    # The edge is as soft as the frame's own resolution; next to the wall, the wall's own echo prevails.
    soft = gaussian_filter(region.astype(float), VALUES["edge_px"])
    soft *= np.clip(distance_transform_edt(lumen) / (2 * VALUES["edge_px"]), 0, 1)
    # The level of blood varies over the lumen (reverberation, blur of the wall): the plaque sits on it.
    level = _level(grey, lumen) + contrast
    texture = _speckle(grey, lumen if sham else ~lumen, above("inserted edge", soft, SOFT_LEAST), rng)
    out = grey * (1 - soft) + soft * np.clip(level + texture, 0, 255)
    mask = np.zeros(image.shape, np.uint8)
    if kind == "calcified" and not sham:
        below = np.cumsum(region, axis=0) > 0
        loss = gaussian_filter((below & ~region).astype(float), (0, VALUES["edge_px"]))
        out = out * (1 - loss * (1 - VALUES["shadow_factor"]))
        mask[below & ~region] = IGNORE
    if not sham:
        mask[region] = 1
    return rounded("inserted grey level", np.clip(out, 0, 255)).astype(np.uint8), mask, "sham" if sham else kind


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
    depth = above("inserted plaque's surface", height - distance_transform_edt(lumen), 0)
    return lumen & ~above("inserted plaque's end", away, 1) & depth


def _speckle(
    grey: NDArray[np.float64], where: NDArray[np.bool_], wanted: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Returns speckle with the size, local SD and distribution of a region, (h, w), 0 where not required."""
    relative = grey - _level(grey, where)
    spread = np.sqrt(_local_mean(relative**2, where))
    # A black lumen may be constant: a minimum SD prevents its few bright pixels from being amplified.
    overall = relative[where].std()
    spread = np.where(where, np.maximum(spread, overall / 4), overall)
    inside = np.where(where, relative, 0)
    sigma = [_grain(inside, where, axis) for axis in (0, 1)]
    real, imaginary = (gaussian_filter(rng.standard_normal(grey.shape), sigma)[wanted] for _ in range(2))
    # Rank matching of fully developed speckle to the values of the region's own speckle.
    rank = (rankdata(np.hypot(real, imaginary)) - 0.5) / real.size
    texture = np.zeros_like(grey)
    texture[wanted] = np.quantile((relative / spread)[where], rank) * spread[wanted]
    return texture


def _level(values: NDArray[np.float64], where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns the expected value in a region: its mean at each depth below the border plus local variation, (h, w)."""
    depth = np.minimum(distance_transform_edt(where), DEPTH_PX).astype(int)
    count = np.maximum(np.bincount(depth[where], minlength=DEPTH_PX + 1), 1)
    profile = np.bincount(depth[where], values[where], minlength=DEPTH_PX + 1) / count
    # Beyond the border the level is constant.
    profile[0] = profile[1]
    return profile[depth] + _local_mean(values - profile[depth], where)


def _local_mean(values: NDArray[np.float64], where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns the local mean over a region, (h, w); far from it, 0."""
    weight = gaussian_filter(where.astype(float), LOCAL_PX)
    return gaussian_filter(np.where(where, values, 0), LOCAL_PX) / np.maximum(weight, 1e-3)


def _grain(inside: NDArray[np.float64], where: NDArray[np.bool_], axis: int) -> float:
    """Returns the SD in pixels of the Gaussian whose speckle has the autocorrelation of the region along an axis.

    The envelope's autocorrelation is exp(-d**2 / (2 sigma**2)), one half at d = 1.18 sigma; the region's shape is
    divided out.
    """
    lags = np.arange(20)
    found = _correlation(inside, axis)[lags] / np.maximum(_correlation(where.astype(float), axis)[lags], 1)
    below = np.flatnonzero(above("grain", found[0] / 2 - found[1:], 0))
    if not len(below):
        return 4 / 1.18
    lag = int(below[0]) + 1
    # between the two lags, linearly
    return (lag - (found[0] / 2 - found[lag]) / (found[lag - 1] - found[lag])) / 1.18


def _correlation(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Returns the linear autocorrelation along an axis, summed over the other."""
    size = 2 * values.shape[axis]
    power = np.abs(np.fft.rfft(values, n=size, axis=axis)) ** 2
    return np.fft.irfft(power.sum(axis=1 - axis), n=size)
