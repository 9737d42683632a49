"""Families of synthetic lesions: each changes a healthy image inside one region and returns the region.

For label-free tuning: a setting is judged on lesions that no method was trained on. None of the families is the noise
of a method (Gaussian noise, simplex noise, thresholded fields) or the lesion of a phantom; an import contract keeps the
files apart. Sources: foreign patches, Tan et al. 2020, arXiv 2011.04197; gradient-domain blending, Pérez et al. 2003,
doi:10.1145/882262.882269, as used for synthetic anomalies by Schlüter et al. 2022, arXiv 2109.15222. Shifts,
deformations and textures are our own, stated here in full.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import spsolve

Image = NDArray[np.float32]
Region = NDArray[np.bool_]

SIZE = (0.03, 0.25)
"""Radius of a region as a share of the body's mean extent, drawn evenly on a logarithmic scale."""

WAVES = 5
"""Harmonics of an outline; the amplitude of the k-th is at most ROUGHNESS / k."""

ROUGHNESS = 0.35
SHIFT = (0.15, 0.8)
"""Size of an intensity shift, on the [-1, 1] scale."""

BEND = 0.45
"""Largest displacement of a deformation as a share of its region's radius: below 0.5 nothing folds over."""

LEAST = 9
"""Minimum number of pixels of a region."""


@dataclass(frozen=True)
class Material:
    """Inputs of a family.

    Attributes:
        image: The healthy image, (c, h, w).
        body: True inside the body, (h, w).
        foreign: An image of another patient on the same grid, moved so that anatomy does not align, (c, h, w).
        signs: Signs that a shift may have: the known polarity, or both.
        rng: Random generator.
    """

    image: Image
    body: Region
    foreign: Image
    signs: tuple[int, ...]
    rng: np.random.Generator


Family = Callable[[Material], tuple[Image, Region]]


def poisson(material: Material) -> tuple[Image, Region]:
    """Blends in a foreign patch, keeping its gradients and the image's border, so that there is no visible edge."""
    region, _ = organic_region(material.body, material.rng)
    blended = np.stack(
        [
            _poisson_plane(plane, foreign, region)
            for plane, foreign in zip(material.image, material.foreign, strict=True)
        ]
    )
    return _limited(blended, material.image), region


def shift(material: Material) -> tuple[Image, Region]:
    """Makes a region with a soft edge brighter or darker, preserving its texture."""
    rng = material.rng
    region, radius = organic_region(material.body, rng)
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    weight = np.clip(depth / (1 + rng.uniform(0.1, 0.5) * radius), 0, 1)
    size = float(np.exp(rng.uniform(*np.log(SHIFT)))) * int(rng.choice(material.signs))
    return _limited(material.image + np.float32(size) * weight.astype(np.float32), material.image), region


def deformation(material: Material) -> tuple[Image, Region]:
    """Swells, shrinks or twists the tissue of a region; nothing moves at its border."""
    rng = material.rng
    region, radius = organic_region(material.body, rng)
    centre = np.array(ndimage.center_of_mass(region))
    grid = np.indices(region.shape).astype(np.float64)
    offset = grid - centre[:, None, None]
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    weight = np.sin(np.pi * np.clip(depth / max(float(depth.max()), 1.0), 0, 1) / 2) * region
    if rng.random() < 0.5:  # radial
        moved = offset * (weight * rng.choice([-1, 1]) * BEND)
    else:
        turned = np.stack([-offset[1], offset[0]])
        moved = turned * (weight * rng.choice([-1, 1]) * BEND * 2)
    longest = float(np.sqrt((moved**2).sum(0)).max())
    moved *= min(1.0, BEND * radius / max(longest, 1e-9))
    warped = np.stack(
        [ndimage.map_coordinates(plane, grid + moved, order=1, mode="nearest") for plane in material.image]
    )
    return _limited(np.where(region, warped, material.image), material.image), region


def texture(material: Material) -> tuple[Image, Region]:
    """Makes the texture of a region finer or coarser, preserving its local mean."""
    rng = material.rng
    region, radius = organic_region(material.body, rng)
    width = float(np.clip(radius / 4, 1.0, 4.0))
    smooth = np.stack([ndimage.gaussian_filter(plane, width, mode="nearest") for plane in material.image])
    gain = float(rng.choice([rng.uniform(0.0, 0.3), rng.uniform(2.0, 3.0)]))
    changed = smooth + np.float32(gain) * (material.image - smooth)
    return _limited(np.where(region, changed, material.image), material.image), region


def foreign_patch(material: Material) -> tuple[Image, Region]:
    """Mixes in a foreign patch with a weight, without smoothing its edges."""
    region, _ = organic_region(material.body, material.rng)
    weight = np.float32(material.rng.uniform(0.5, 1.0))
    mixed = (1 - weight) * material.image + weight * material.foreign
    return np.where(region, mixed, material.image).astype(np.float32), region


FAMILIES: dict[str, Family] = {
    "foreign": foreign_patch,
    "poisson": poisson,
    "shift": shift,
    "deformation": deformation,
    "texture": texture,
}


def organic_region(body: Region, rng: np.random.Generator) -> tuple[Region, float]:
    """Draws a blob-like region centred in the body and cut to it, and returns it with its mean radius in pixels.

    The outline is a circle whose radius varies with the angle by a few harmonics, so that it has no corner and no hole.
    """
    rows, columns = np.nonzero(body)
    extent = (np.ptp(rows) + np.ptp(columns) + 2) / 2
    radius = max(2.0, extent * float(np.exp(rng.uniform(*np.log(SIZE)))))
    place = int(rng.integers(len(rows)))
    amplitudes = rng.uniform(-1, 1, WAVES) * ROUGHNESS / np.arange(1, WAVES + 1)
    phases = rng.uniform(0, 2 * np.pi, WAVES)
    stretch = float(rng.uniform(0.6, 1.0))
    angle = float(rng.uniform(0, np.pi))
    y, x = np.indices(body.shape, dtype=float)
    y, x = y - rows[place], x - columns[place]
    along, across = (y * np.cos(angle) + x * np.sin(angle)) / stretch, x * np.cos(angle) - y * np.sin(angle)
    direction = np.arctan2(along, across)
    waves = sum(
        amplitude * np.cos((k + 1) * direction + phase)
        for k, (amplitude, phase) in enumerate(zip(amplitudes, phases, strict=True))
    )
    region = (np.hypot(along, across) <= radius * (1 + waves)) & body
    if region.sum() < LEAST:  # in a narrow part of the body: use its nearest pixels instead
        nearest = np.argsort(((y**2 + x**2) + np.where(body, 0, np.inf)).ravel(), kind="stable")[:LEAST]
        region = np.zeros_like(body)
        region.ravel()[nearest] = True
        region &= body
    return region, radius


def _poisson_plane(image: Image, foreign: Image, region: Region) -> Image:
    """Solves the Poisson equation inside a region: the foreign Laplacian, the image on the border."""
    height, width = region.shape
    number = np.full(region.shape, -1)
    rows, columns = np.nonzero(region)
    number[rows, columns] = np.arange(len(rows))
    target = np.zeros(len(rows))
    degree = np.zeros(len(rows))
    links: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        y, x = rows + down, columns + right
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        near_y, near_x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
        degree += inside
        target += np.where(inside, foreign[rows, columns] - foreign[near_y, near_x], 0)
        neighbour = number[near_y, near_x]
        border = inside & (neighbour < 0)
        target += np.where(border, image[near_y, near_x], 0)
        linked = np.flatnonzero(inside & (neighbour >= 0))
        links.append((linked, neighbour[linked]))
    one, other = (np.concatenate([link[side] for link in links]) for side in (0, 1))
    matrix = diags_array(degree) - csr_array((np.ones(len(one)), (one, other)), shape=(len(rows), len(rows)))
    result = image.astype(np.float64)
    # A region that fills the whole frame has no border to fix its mean, so the image's mean is used.
    if any(degree < 4) and not _has_border(region):
        return image
    result[rows, columns] = spsolve(matrix.tocsc(), target)
    return result.astype(np.float32)


def _has_border(region: Region) -> bool:
    return bool((ndimage.binary_dilation(region) & ~region).any())


def _limited(changed: NDArray[np.floating], image: Image) -> Image:
    """Clips intensities to the range of the scale, or of the image if that is wider."""
    low, high = min(-1.0, float(image.min())), max(1.0, float(image.max()))
    return np.clip(changed, low, high).astype(np.float32)
