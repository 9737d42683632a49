"""Body masks: the pixels that count."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 (as its documentation has it)
from numpy.typing import NDArray
from scipy import ndimage

ON_BORDER = 0.3
"""Share of the border that one value must fill to be the background."""

DARK = 0.3
"""Share of non-background voxels that may be darker than half of the tissue threshold: more is noise."""

NOISY = 0.05
"""Share of the border with other values, darker than any tissue, above which the background is noise."""


def extracted_body(volume: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns the body of a brain-extracted volume: its non-zero voxels, largest part, holes filled slice by slice.

    Args:
        volume: Intensities with a background of exactly 0, shape (x, y, z).
    """
    return fill_slices(largest_part(volume != 0))


def found_body(volume: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns the body of any volume with a darker background: its largest part, holes filled slice by slice.

    If the background is one value, as in extracted data, the body is what differs from it: for a background of 0
    the same mask as ``extracted_body``. Otherwise (noise, an offset, JPEG) Otsu's method separates it from tissue: of
    three classes the lowest is background (Liao et al. 2001, as in SimpleITK).

    Args:
        volume: Intensities, shape (x, y, z), slices along the last axis.
    """
    level = background_level(volume)
    if level is not None:
        return fill_slices(largest_part(volume != np.float32(level)))
    inside = largest_part(_smooth(volume) > tissue_level(volume))
    return fill_slices(inside)


def background_level(volume: NDArray[Any]) -> float | None:
    """Returns the constant value of the background, None if it is noise or there is none.

    It is the most common value on the border of the slices and the minimum of the volume. Border voxels that differ
    from it must be tissue that reaches the border, not noise.
    """
    border = _border(volume)
    values, counts = np.unique(border, return_counts=True)
    level = float(values[counts.argmax()])
    if counts.max() < ON_BORDER * border.size or level > float(np.quantile(volume, 0.05)) + 1e-6 * np.ptp(volume):
        return None
    half = abs(tissue_level(volume) - level) / 2
    others = border[border != np.float32(level)]
    inside = _smooth(volume)[volume != np.float32(level)]
    noise = (np.abs(others - level) < half).sum() > NOISY * border.size
    return None if noise or (np.abs(inside - level) < half).mean() > DARK else level


def tissue_level(volume: NDArray[Any]) -> float:
    """Returns the lower of two thresholds by Otsu's method."""
    flat = sitk.GetImageFromArray(np.ascontiguousarray(_smooth(volume), dtype=np.float32))
    made = sitk.OtsuMultipleThresholdsImageFilter()
    made.SetNumberOfThresholds(2)
    made.SetNumberOfHistogramBins(256)
    made.Execute(flat)
    return float(made.GetThresholds()[0])


def large_parts(mask: NDArray[np.bool_], share: float = 0.1) -> NDArray[np.bool_]:
    """Returns the parts of a slice with at least this share of the largest part's area: a brain may have two."""
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return (sizes >= share * sizes.max())[labels] & mask


def largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns the largest face-connected component (all False if there is none)."""
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == int(sizes.argmax())


def fill_slices(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fills the holes of every slice along the last axis."""
    return np.stack([ndimage.binary_fill_holes(mask[..., z]) for z in range(mask.shape[-1])], -1)


def _smooth(volume: NDArray[Any]) -> NDArray[np.float32]:
    """Removes noise within slices, so that neither threshold nor outline follows single voxels."""
    size = (3, 3, 1) if min(volume.shape[:2]) >= 16 else (1, 1, 1)
    return ndimage.median_filter(np.asarray(volume, dtype=np.float32), size=size)


def _border(volume: NDArray[Any]) -> NDArray[np.float32]:
    """Returns the values on the four edges of all slices."""
    edges = (volume[0], volume[-1], volume[:, 0], volume[:, -1])
    return np.concatenate([np.asarray(edge, dtype=np.float32).ravel() for edge in edges])
