"""A plaque inserted into a real healthy frame: along the wall, with the speckle of the frame itself.

The texture is taken from tissue of the same frame (its rank-one speckle pattern around a local mean), so that grain,
resolution and compression are the frame's own; only the mean level is set by the plaque's class.
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
    texture = _speckle(grey, lumen, rng) * (VALUES["speckle_gain"] * max(level, 4.0))
    if sham:
        texture = _shuffle(grey, lumen) - blood
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


def _speckle(grey: NDArray[np.float64], lumen: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """Relative speckle of the brightest tissue of the frame, moved by a random shift; mean 0, SD 1."""
    local = gaussian_filter(grey, 4) + 2
    relative = (grey - local) / local
    relative[lumen] = 0
    shift = rng.integers(0, grey.shape)
    moved = np.roll(relative, (int(shift[0]), int(shift[1])), axis=(0, 1))
    # Where the shift brings the (empty) lumen, the mirrored pattern takes its place.
    moved = np.where(moved == 0, moved[::-1, ::-1], moved)
    return (moved - moved.mean()) / (moved.std() + 1e-6)


def _shuffle(grey: NDArray[np.float64], lumen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Lumen texture from elsewhere in the lumen: the nearest lumen pixel of the frame turned by half a turn."""
    rows, columns = np.nonzero(lumen)
    turned = np.full(grey.shape, float(np.median(grey[lumen])))
    turned[rows, columns] = grey[lumen][::-1]
    return turned
