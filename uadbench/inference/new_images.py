"""Applies a trained run to new images or volumes: read, normalise like its dataset, predict, write heat-maps.

The run's own data are not needed: its folder holds the config, the shape of its images and the weights.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uadbench.core.dataset import Progress
from uadbench.core.errors import DataError
from uadbench.core.files import atomic_text, writing
from uadbench.data.preprocessing.incoming_scale import region_of
from uadbench.data.preprocessing.intake import squared
from uadbench.data.reading.folder import MASKS
from uadbench.data.reading.incoming import Incoming, as_slices, look_into
from uadbench.data.reading.region import Regions
from uadbench.evaluation.metrics.pixels import top_mean
from uadbench.inference.answers import ABNORMAL, lesion_size
from uadbench.inference.case_report import Picture, render
from uadbench.inference.dicom_seg import check_highdicom, write_seg
from uadbench.inference.fitted import Fitted, load_fitted
from uadbench.inference.heatmaps import calibrated_scale, own_scale, write_mask, write_nifti, write_picture
from uadbench.inference.loose_slices import group_scales
from uadbench.inference.new_planes import NewPlanes, ScaleOfTraining, read_planes
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
    """Outcome for the inputs.

    Attributes:
        rows: One row of scores.csv per input that could be used.
        problems: One line per input that could not.
        scores: Path of the scores; None if no input could be used.
        notes: Effects of the machine, such as a smaller batch.
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
    *,
    seg: bool = False,
) -> Applied:
    """Predicts every image and volume of a file or folder.

    Args:
        run: Folder of a finished run.
        source: PNG, TIFF, NIfTI or DICOM file, or a folder of them.
        out: Output folder for heat-maps and scores.csv.
        device: auto, cpu or cuda.
        progress: Called with images done, total images and the name.
        regions: Location of masks of the region of interest; by default next to the images, for datasets that need one.
        rule: Rule of the threshold above which pixels are lesion; None for that of the headline.
        seg: Whether lesions of DICOM inputs are written as DICOM segmentations too.

    Returns:
        The outcome for each input; a bad input never affects the others.

    Raises:
        DataError: If the run or the input cannot be used at all.
    """
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise DataError(f"{out} is inside the input folder.", "Choose another --out: heat-maps would become inputs.")
    if seg:
        check_highdicom()
    found, passed = look_into(source)
    fitted = load_fitted(run, device, rule)
    regions, intake = regions or Regions(), fitted.calibration.intake
    loose = intake is not None and intake.loose
    found, masks = regions.find(as_slices(source, found) if loose else found, region_of(fitted.dataset))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    pictures: list[Picture] = []
    problems: list[str] = []
    notes: Counter[str] = Counter()
    drawn = sum(one.name.lower().split("/")[-2] in MASKS for one in found if "/" in one.name)
    if drawn:
        notes["in a folder called as masks are, and predicted as images"] = drawn
    scale = ScaleOfTraining(fitted.dataset, fitted.job.dataset.recipe, intake, fitted.spec.channels)
    groups = group_scales(intake, found, notes)
    for done, incoming in enumerate(found):
        progress(done, len(found), incoming.name)
        try:
            taken = read_planes(scale, incoming, regions, masks.get(incoming.name), groups.get(incoming.name))
            notes.update(taken.notes)
            if taken.volume is None and max(taken.bodies.shape[1:]) > 4 * max(fitted.spec.height, fitted.spec.width):
                notes[f"predicted at the method's {fitted.spec.height} x {fitted.spec.width} pixels"] += 1
            row, picture, lesion = _answered(fitted, incoming, taken, out)
            if seg and lesion is not None:
                notes.update(_segmented(fitted, incoming, lesion, out))
            rows.append(row)
            pictures.append(picture)
        except DataError as error:
            # Readers name their file; rules of the data cannot.
            named = any(
                str(file.parent) in error.message for file in (incoming.first, masks.get(incoming.name)) if file
            )
            problems.append(str(error) if named else _about(incoming, error))
        except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError, OSError) as error:
            # A damaged file may raise any error in any library, and must not affect the others.
            what = str(error).splitlines()[0] if str(error) else ""
            problems.append(f"{incoming.first} cannot be used ({type(error).__name__}: {what}).")
    progress(len(found), len(found), "done")
    scores = atomic_text(out / "scores.csv", _csv(rows)) if rows else None
    if rows:
        atomic_text(out / "report.html", _page(fitted, rows, pictures, problems))
    elif not any(out.iterdir()):
        out.rmdir()
    said = _said(fitted, notes, passed)
    return Applied(rows, problems, scores, [*fitted.predict.notes, *said])


def _said(fitted: Fitted, notes: Counter[str], passed: Counter[str]) -> list[str]:
    """Returns notes on the inputs and on ignored files."""
    said = [f"{count} inputs: {note}." for note, count in sorted(notes.items())]
    if passed:
        said.append(f"Ignored: {', '.join(f'{count} {what}' for what, count in sorted(passed.items()))}.")
    if fitted.calibration.threshold is None:
        said.append("The run has no threshold from healthy calibration patients: no lesion masks were written.")
    return said


def _segmented(fitted: Fitted, incoming: Incoming, lesion: NDArray[np.bool_], out: Path) -> list[str]:
    """Writes the lesions of a DICOM input as SEG; returns why there is none, which costs nothing else."""
    if incoming.kind != "dicom":
        return ["no DICOM segmentation, which only DICOM inputs have"]
    method = fitted.job.method
    try:
        write_seg(out / incoming.name, incoming, lesion, fitted.job.id, method.name, method.version)
    except DataError as error:
        return [f"no DICOM segmentation ({error.message})"]
    return ["DICOM segmentation written as NAME_lesion.dcm"]


def _answered(
    fitted: Fitted, incoming: Incoming, taken: NewPlanes, out: Path
) -> tuple[dict[str, Any], Picture, NDArray[np.bool_] | None]:
    """Predicts an input, writes its files and returns its row, its picture and its lesions."""
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
        # Outside the body no prediction counts: the minimum inside is written there.
        inside = np.where(taken.bodies, maps, values.min())
        file = write_nifti(target, taken.stacked(inside, values.min()), taken.volume.original)
        whole = None if lesions is None else taken.stacked(lesions, np.False_)
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
    return row, Picture(taken.planes[top].mean(0), maps[top], None if lesions is None else lesions[top]), whole


def _padded_maps(fitted: Fitted, taken: NewPlanes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Predicts planes, padded to squares if the store keeps the aspect ratio; maps are on the original planes."""
    intake = fitted.calibration.intake
    if intake is None or not intake.keep_aspect:
        return predict_arrays(fitted.predict, taken.planes, taken.bodies, fitted.spec)
    planes, (rows, columns) = squared(taken.planes, taken.pixel, -1)
    maps, own = predict_arrays(fitted.predict, planes, squared(taken.bodies, taken.pixel, 0)[0], fitted.spec)
    return np.ascontiguousarray(maps[:, rows, columns]), own


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
