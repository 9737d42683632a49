"""Heat-maps as files: NIfTI on the original grid for volumes, PNG and TIFF for 2-D images."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from matplotlib import colormaps
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray
from PIL import Image

from uadbench.core.files import atomic_write

LOW, HIGH = 0.5, 0.999
SAMPLE = 1_000_000


@dataclass(frozen=True)
class Scale:
    """Grey scale of the heat-maps of a run.

    Attributes:
        low: Value drawn black.
        high: Value drawn white.
    """

    low: float
    high: float

    def colours(self, anomaly_map: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Returns (h, w, 3) for a map (h, w)."""
        unit = np.clip((anomaly_map - self.low) / (self.high - self.low), 0, 1)
        return (colormaps["magma"](unit)[..., :3] * 255).round().astype(np.uint8)


def calibrated_scale(run: Path) -> Scale | None:
    """Returns the scale of a run from its maps of healthy calibration patients, None if it has none.

    Black is their median, white the value exceeded by 1 pixel in 1000, so heat-maps of one run are comparable.
    """
    file = run / "maps" / "calib" / "maps.npy"
    if not file.exists():
        return None
    values = np.load(file, mmap_mode="r", allow_pickle=False).reshape(-1)
    low, high = np.quantile(values[:: max(1, len(values) // SAMPLE)], [LOW, HIGH])
    return Scale(float(low), float(high)) if high > low else None


def own_scale(anomaly_map: NDArray[np.float32]) -> Scale:
    """Returns the scale from the minimum to the maximum of one map."""
    low, high = float(anomaly_map.min()), float(anomaly_map.max())
    return Scale(low, high if high > low else low + 1)


def write_picture(path: Path, anomaly_map: NDArray[np.float32], scale: Scale) -> Path:
    """Writes ``PATH_heatmap.png`` in colours and ``PATH_map.tiff`` with the raw values, (h, w); returns the first."""
    _write_image(_named(path, "_map.tiff"), anomaly_map, "TIFF")
    return _write_image(_named(path, "_heatmap.png"), scale.colours(anomaly_map), "PNG")


def _write_image(file: Path, pixels: NDArray[Any], kind: str) -> Path:
    # Encoded in memory, because the TIFF encoder does not detect incomplete writes.
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, kind)
    return atomic_write(file, lambda part: part.write_bytes(encoded.getvalue()))


def write_mask(path: Path, lesion: NDArray[np.bool_]) -> Path:
    """Writes ``PATH_lesion.png``: 255 where the map exceeds the threshold, (h, w)."""
    return _write_image(_named(path, "_lesion.png"), lesion.astype(np.uint8) * np.uint8(255), "PNG")


def write_nifti(path: Path, anomaly_map: NDArray[Any], original: nib.Nifti1Image, end: str = "_heatmap.nii.gz") -> Path:
    """Writes ``PATH_heatmap.nii.gz``, or another suffix, with the grid and affine of the original.

    Args:
        path: Output path without suffix.
        anomaly_map: Raw map or mask in RAS order, (x, y, z).
        original: The image as stored on disk, in any orientation.
        end: Suffix of the name.
    """
    back = ornt_transform(axcodes2ornt("RAS"), io_orientation(original.affine))
    turned = apply_orientation(anomaly_map, back).reshape(original.shape)
    kind = np.uint8 if anomaly_map.dtype == np.bool_ else np.float32
    image = nib.Nifti1Image(turned.astype(kind), original.affine)
    header, old = image.header, original.header
    image.set_qform(original.get_qform() if old["qform_code"] else original.affine)
    image.set_sform(original.affine)
    for code in ("qform_code", "sform_code"):
        header[code] = old[code]
    # Only the geometry is copied: free text in a header may name a patient.
    header.set_xyzt_units(xyz="mm")
    return atomic_write(_named(path, end), lambda part: nib.save(image, part))


def _named(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)
