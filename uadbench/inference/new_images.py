"""Applies a trained run to new images or volumes: read, normalise as its dataset does, predict, write heat-maps.

The run's own data are not needed: its folder holds the config, the shape of its images and the weights.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uadbench.core.dataset import Progress
from uadbench.core.errors import DataError
from uadbench.core.files import atomic_text, writing
from uadbench.data.preprocessing.incoming_scale import normalise_new, region_of, shape_of
from uadbench.data.preprocessing.intake import GroupScale, group_scale, scale_picture, squared
from uadbench.data.reading.incoming import Incoming, NewVolume, find_incoming, read_frame, read_new_volume, read_stored
from uadbench.data.reading.region import Regions
from uadbench.data.reading.volume import axial, slices_back, slices_last, slicing_axis
from uadbench.evaluation.metrics.pixels import top_mean
from uadbench.inference.answers import ABNORMAL, lesion_size
from uadbench.inference.case_report import Picture, render
from uadbench.inference.fitted import Fitted, load_fitted
from uadbench.inference.heatmaps import calibrated_scale, own_scale, write_mask, write_nifti, write_picture
from uadbench.runner.execution.predictions import predict_arrays

COLUMNS = (
    "input",
    "kind",
    "slices",
    "score",
    "own_score",
    "percentile",
    "abnormal",
    "lesion_size",
    "lesion_unit",
    "top_slice",
    "heatmap",
    "mask",
)


@dataclass(frozen=True)
class Applied:
    """What became of the inputs.

    Attributes:
        rows: One row of scores.csv per input that could be used.
        problems: One line per input that could not.
        scores: Where the scores are; None if no input could be used.
        notes: What the machine forced, such as a smaller batch.
    """

    rows: list[dict[str, Any]]
    problems: list[str]
    scores: Path | None
    notes: list[str] = field(default_factory=list[str])


def apply_run(
    run: Path,
    source: Path,
    out: Path,
    device: str,
    progress: Progress,
    regions: Regions | None = None,
    rule: str | None = None,
) -> Applied:
    """Predicts every image and volume of a file or folder.

    Args:
        run: Folder of a finished run.
        source: PNG, TIFF, NIfTI or DICOM file, or a folder of them.
        out: Folder of the heat-maps and of scores.csv.
        device: auto, cpu or cuda.
        progress: Called with images done, images in all and the name.
        regions: Where masks of the region of interest are; by default beside the images, for datasets that need one.
        rule: Rule of the threshold above which pixels are lesion; None for that of the headline.

    Returns:
        What was written, and what could not be used; a bad input never costs the others.

    Raises:
        DataError: If the run or the input cannot be used at all.
    """
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise DataError(f"{out} lies inside the input.", "Choose another --out: heat-maps would become inputs.")
    found = find_incoming(source)
    fitted = load_fitted(run, device, rule)
    regions = regions or Regions()
    found, masks = regions.find(found, region_of(fitted.dataset))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    pictures: list[Picture] = []
    problems: list[str] = []
    notes: Counter[str] = Counter()
    groups = _groups(fitted, found, problems)
    for done, incoming in enumerate(found):
        progress(done, len(found), incoming.name)
        try:
            taken = _taken(fitted, incoming, regions, masks.get(incoming.name), groups)
            notes.update(taken.notes)
            row, picture = _answered(fitted, incoming, taken, out)
            rows.append(row)
            pictures.append(picture)
        except DataError as error:
            # A reader names its file, a rule of the data cannot.
            named = any(
                str(file.parent) in error.message for file in (incoming.first, masks.get(incoming.name)) if file
            )
            problems.append(str(error) if named else _about(incoming, error))
        except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError, OSError) as error:
            # A damaged file may make any library raise anything, and costs none of the others.
            what = str(error).splitlines()[0] if str(error) else ""
            problems.append(f"{incoming.first} cannot be used ({type(error).__name__}: {what}).")
    progress(len(found), len(found), "done")
    scores = atomic_text(out / "scores.csv", _csv(rows)) if rows else None
    if rows:
        atomic_text(out / "report.html", _page(fitted, rows, pictures, problems))
    elif not any(out.iterdir()):
        out.rmdir()
    said = [f"{count} inputs: {note}." for note, count in sorted(notes.items())]
    if fitted.calibration.threshold is None:
        said.append("The run has no threshold from healthy calibration patients: no lesion masks were written.")
    return Applied(rows, problems, scores, [*fitted.predict.notes, *said])


@dataclass(frozen=True)
class _Taken:
    """An input at the scale of training, as planes.

    Attributes:
        planes: Intensities in [-1, 1], (n, c, h, w).
        bodies: True inside the body, (n, h, w).
        kept: Which slices they are.
        volume: Its grid; None for pictures.
        axis: Axis of the volume along which it was sliced.
        spacing: Millimetres per pixel (row, column) of a picture, per voxel of a volume.
        notes: What was done to it.
    """

    planes: NDArray[np.float32]
    bodies: NDArray[np.bool_]
    kept: list[int]
    volume: NewVolume | None
    axis: int
    spacing: tuple[float, ...] | None
    notes: tuple[str, ...] = ()


def _taken(
    fitted: Fitted, incoming: Incoming, regions: Regions, mask: Path | None, groups: Mapping[str, GroupScale]
) -> _Taken:
    wanted = shape_of(fitted.dataset)
    if wanted == "volume" and incoming.shape == "frame":
        raise DataError(f"{incoming.first}: {fitted.job.dataset.name} is made of volumes.", "Give NIfTI or DICOM.")
    if wanted == "frame" and incoming.shape == "volume":
        raise DataError(f"{incoming.first}: {fitted.job.dataset.name} is made of frames.", "Give PNG or TIFF.")
    recipe, intake = fitted.job.dataset.recipe, fitted.calibration.intake
    if incoming.shape == "frame":
        stored = read_stored(incoming)
        region = None if mask is None else regions.of_frame(mask, stored.pixels)
        if intake is not None and wanted == "any":
            if stored.is_coloured and not intake.colour:
                raise DataError(f"{incoming.first} is a colour image.", "Convert it to grey.")
            grey = fitted.spec.channels == 1
            pixels = stored.grey()[None] if grey else np.broadcast_to(stored.pixels, (3, *stored.pixels.shape[1:]))
            image, body = scale_picture(np.asarray(pixels), stored.bits, intake, groups.get(incoming.name), region)
            image = image.astype(np.float16).astype(np.float32)  # as the store keeps it
        else:
            frame = read_frame(incoming, fitted.spec.channels)
            image, body = normalise_new(fitted.dataset, frame, None, recipe, region=region)
        if not body.any() or float(image[:, body].min()) == float(image[:, body].max()):
            raise DataError("the image is constant, or shows no body", "Check the file.")
        large = max(image.shape[1:]) > 4 * max(fitted.spec.height, fitted.spec.width)
        small = (f"predicted at the method's {fitted.spec.height} x {fitted.spec.width} pixels",) if large else ()
        return _Taken(image[None], body[None], [0], None, 2, stored.spacing, small)
    volume = read_new_volume(incoming)
    region = None if mask is None else regions.of_volume(mask, incoming, volume)
    image, body = normalise_new(fitted.dataset, volume.data, volume.spacing, recipe, volume.modality, region, intake)
    axis = slicing_axis(volume.spacing, intake.plane if intake else "") if wanted == "any" else 2
    image, body = slices_last(image, axis), slices_last(body, axis)
    kept = [int(z) for z in np.flatnonzero(body.any(axis=(0, 1)))]
    planes = np.stack([axial(image, z) for z in kept])[:, None]
    bodies = np.ascontiguousarray(np.stack([axial(body, z) for z in kept]))
    planes = np.ascontiguousarray(np.repeat(planes, fitted.spec.channels, axis=1))
    return _Taken(planes, bodies, kept, volume, axis, volume.spacing, volume.notes)


def _answered(fitted: Fitted, incoming: Incoming, taken: _Taken, out: Path) -> tuple[dict[str, Any], Picture]:
    """Predicts an input, writes its files and returns its row and picture."""
    maps, own = _padded_maps(fitted, taken)
    values = maps[taken.bodies]
    target, calibration = out / incoming.name, fitted.calibration
    lesions = None if calibration.threshold is None else (maps > calibration.threshold) & taken.bodies
    marked = None
    if taken.volume is None:
        file = write_picture(target, maps[0], calibrated_scale(fitted.path) or own_scale(maps[0]))
        whole = None if lesions is None else lesions[0]
        marked = None if whole is None else write_mask(target, whole)
    else:
        # Outside the body nothing was predicted that counts: the least value of the inside stands there.
        inside = np.where(taken.bodies, maps, values.min())
        file = write_nifti(target, _stacked(taken, inside, values.min()), taken.volume.original)
        whole = None if lesions is None else _stacked(taken, lesions, np.False_)
        if whole is not None:
            marked = write_nifti(target, whole, taken.volume.original, "_lesion.nii.gz")
    size, unit = ("", "") if whole is None else lesion_size(whole, taken.spacing)
    percentile = calibration.percentile(float(own.max()))
    top = int(own.argmax())
    row = {
        "input": incoming.name,
        "kind": incoming.kind,
        "slices": len(taken.kept),
        "score": round(top_mean(values, fitted.top_fraction), 6),
        "own_score": round(float(own.max()), 6),
        "percentile": "" if percentile is None else round(percentile, 1),
        "abnormal": "" if percentile is None else "yes" if percentile > ABNORMAL else "no",
        "lesion_size": size,
        "lesion_unit": unit,
        "top_slice": "" if taken.volume is None else taken.kept[top],
        "heatmap": file.relative_to(out).as_posix(),
        "mask": "" if marked is None else marked.relative_to(out).as_posix(),
    }
    return row, Picture(taken.planes[top].mean(0), maps[top], None if lesions is None else lesions[top])


def _padded_maps(fitted: Fitted, taken: _Taken) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Predicts planes, padded to squares where the store keeps the aspect; the maps lie on the planes again."""
    intake = fitted.calibration.intake
    if intake is None or not intake.keep_aspect:
        return predict_arrays(fitted.predict, taken.planes, taken.bodies, fitted.spec)
    spacing = taken.spacing
    if spacing is not None and len(spacing) == 3:
        across, down = (spacing[k] for k in range(3) if k != taken.axis)
        spacing = (down, across)
    pixel = None if spacing is None else (spacing[0], spacing[1])
    planes, (rows, columns) = squared(taken.planes, pixel, -1)
    maps, own = predict_arrays(fitted.predict, planes, squared(taken.bodies, pixel, 0)[0], fitted.spec)
    return np.ascontiguousarray(maps[:, rows, columns]), own


def _stacked(taken: _Taken, planes: NDArray[Any], fill: Any) -> NDArray[Any]:
    """Returns planes as a volume in RAS order; slices that were left out hold ``fill``."""
    assert taken.volume is not None  # noqa: S101 (asked by the caller)
    whole = np.full(slices_last(taken.volume.data, taken.axis).shape, fill, dtype=planes.dtype)
    for plane, z in zip(planes, taken.kept, strict=True):
        whole[..., z] = plane.T[::-1, ::-1]
    return slices_back(whole, taken.axis)


def _groups(fitted: Fitted, found: Sequence[Incoming], problems: list[str]) -> dict[str, GroupScale]:
    """Returns the scale of pictures that are slices of volumes: together per patient, else per folder."""
    intake = fitted.calibration.intake
    if intake is None or not intake.together:
        return {}
    members: dict[str, list[Incoming]] = {}
    for one in found:
        if one.shape == "frame":
            match = re.search(intake.patient_pattern, one.name) if intake.patient_pattern else None
            key = match.group(1) if match and match.re.groups else match.group(0) if match else str(one.first.parent)
            members.setdefault(key, []).append(one)
    scales: dict[str, GroupScale] = {}
    for group in members.values():
        try:
            scale = group_scale([read_stored(one).grey() for one in group])
            scales |= {one.name: scale for one in group}
        except DataError as error:
            problems.append(f"{group[0].first}: no scale for the slices of this volume ({error}).")
    return scales


def _page(fitted: Fitted, rows: Sequence[dict[str, Any]], pictures: Sequence[Picture], problems: Sequence[str]) -> str:
    calibration = fitted.calibration
    scale = calibrated_scale(fitted.path) or own_scale(np.stack([one.anomaly_map.max() for one in pictures]))
    rule = (
        ""
        if calibration.threshold is None
        else f"Outlines: map above {calibration.threshold:.4g} ({calibration.rule})."
    )
    shown = [{name: row[name] for name in COLUMNS} for row in rows]
    return render(fitted.job.method.name, rule, shown, pictures, scale, problems)


def _about(incoming: Incoming, error: DataError) -> str:
    return f"{incoming.first}: {error.message.rstrip('.')}. {error.remedy}".strip()


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row[name] for name in COLUMNS] for row in rows)
    return text.getvalue()
