"""Applies a trained run to new images or volumes: read, normalise as its dataset does, predict, write heat-maps.

The run's own data are not needed: its folder holds the config, the shape of its images and the weights.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from uadbench.core.catalog import DATASETS, METHODS
from uadbench.core.dataset import Progress
from uadbench.core.errors import REMAKE, DataError
from uadbench.core.files import atomic_text, writing
from uadbench.core.job import EXTERNAL, Job
from uadbench.core.method import Method
from uadbench.core.reading import read_json, read_yaml
from uadbench.core.types import ImageBatch, ImageSpec
from uadbench.data.preprocessing.incoming_scale import normalise_new, region_of, shape_of
from uadbench.data.reading.incoming import Incoming, find_incoming, read_frame, read_new_volume
from uadbench.data.reading.nifti import axial
from uadbench.data.reading.region import Regions
from uadbench.data.storage.batches import resize_image, resize_mask
from uadbench.evaluation.metrics.pixels import top_mean
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.inference.heatmaps import calibrated_scale, own_scale, write_nifti, write_picture
from uadbench.runner.execution.device import pick_device
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor
from uadbench.runner.execution.run import build_seeded
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.runner.storage.stored_cases import to_native

COLUMNS = ("input", "kind", "slices", "score", "own_score", "top_slice", "heatmap")


@dataclass(frozen=True)
class Applied:
    """What became of the inputs.

    Attributes:
        rows: One row of scores.csv an input that could be used.
        problems: One line an input that could not.
        scores: Where the scores are; None if no input could be used.
        notes: What the machine forced, such as a smaller batch.
    """

    rows: list[dict[str, Any]]
    problems: list[str]
    scores: Path | None
    notes: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Fitted:
    """A run ready to be applied.

    Attributes:
        path: Its folder.
        job: Its definition.
        predict: The method with its weights and its padded batch shape.
        spec: Shape of its images.
        top_fraction: Share of the body whose mean is the image score.
        dataset: The dataset it was trained on: its scale and whether it is made of volumes.
    """

    path: Path
    job: Job
    predict: FixedBatchPredictor
    spec: ImageSpec
    top_fraction: float
    dataset: Any

    @property
    def method(self) -> Method:
        """The method with its weights."""
        return self.predict.method


def load_fitted(path: Path, device: str = "auto") -> Fitted:
    """Loads a finished run without its data.

    Raises:
        DataError: If it is no finished run with weights.
    """
    folder = RunFolder(path)
    record = folder.record()
    if record is None or record.status != "done":
        raise DataError(f"{path} holds no finished run.", "Give the folder runs/ID of a run that ended.")
    if record.method.preset == EXTERNAL:
        raise DataError(f"{path} holds maps of an outside system.", "There are no weights to predict from.")
    try:
        job = Job.model_validate(read_yaml(path / "config.yaml"))
    except ValueError as error:
        raise DataError(f"{path}/config.yaml is missing or damaged.", REMAKE) from error
    target = pick_device(device)
    config = METHODS.load(job.method.name).config_type.model_validate(job.method.config)
    dataset = DATASETS.load(job.dataset.name)()
    spec = _spec(path, config.image_size, record.ledger.polarity_prior or dataset.card.polarity)
    method = build_seeded(job.method.name, config, spec, job.seed).to(target)
    try:
        method.load_state_dict(folder.load_weights())
    except RuntimeError as error:
        raise DataError(f"{path}/weights.safetensors does not fit its method.", REMAKE) from error
    method.to(target)
    fraction = load_protocol(job.protocol.name).image_top_fraction
    predict = FixedBatchPredictor(method, job.seed, config.predict_batch, target)
    return Fitted(path, job, predict, spec, fraction, dataset)


def apply_run(
    run: Path, source: Path, out: Path, device: str, progress: Progress, regions: Regions | None = None
) -> Applied:
    """Predicts every image and volume of a file or folder.

    Args:
        run: Folder of a finished run.
        source: PNG, TIFF, NIfTI or DICOM file, or a folder of them.
        out: Folder of the heat-maps and of scores.csv.
        device: auto, cpu or cuda.
        progress: Called with images done, images in all and the name.
        regions: Where masks of the region of interest are; by default beside the images, for datasets that need one.

    Returns:
        What was written, and what could not be used; a bad input never costs the others.

    Raises:
        DataError: If the run or the input cannot be used at all.
    """
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise DataError(f"{out} lies inside the input.", "Choose another --out: heat-maps would become inputs.")
    found = find_incoming(source)
    fitted = load_fitted(run, device)
    regions = regions or Regions()
    found, masks = regions.find(found, region_of(fitted.dataset))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for done, incoming in enumerate(found):
        progress(done, len(found), incoming.name)
        try:
            rows.append(_apply(fitted, incoming, out, regions, masks.get(incoming.name)))
        except DataError as error:
            # A reader names its file, a rule of the data cannot.
            named = any(
                str(file.parent) in error.message for file in (incoming.first, masks.get(incoming.name)) if file
            )
            text = str(error) if named else _about(incoming, error)
            problems.append(text)
    progress(len(found), len(found), "done")
    scores = atomic_text(out / "scores.csv", _csv(rows)) if rows else None
    if not rows and not any(out.iterdir()):
        out.rmdir()
    return Applied(rows, problems, scores, fitted.predict.notes)


def predict_planes(
    fitted: Fitted, image: NDArray[np.float32], body: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Predicts normalised planes in padded batches.

    Args:
        fitted: The run.
        image: Intensities in [-1, 1], (n, c, h, w).
        body: True inside the body, (n, h, w).

    Returns:
        Raw maps on the grid of the planes, (n, h, w), and the method's own scores, (n,).
    """
    size = (fitted.spec.height, fitted.spec.width)
    maps, scores = np.empty(body.shape, np.float32), np.empty(len(body), np.float32)
    batch = fitted.predict.batch
    for start in range(0, len(body), batch):
        rows = range(start, min(start + batch, len(body)))
        images = ImageBatch(
            # Named by content: an image gives the same map whatever its file is called.
            tuple(hashlib.sha256(image[row].tobytes()).hexdigest()[:16] for row in rows),
            torch.cat([resize_image(image[row], size) for row in rows]),
            torch.cat([resize_mask(body[row], size) for row in rows]),
        )
        small, own, _ = fitted.predict(images)
        maps[rows.start : rows.stop] = to_native(small, (body.shape[1], body.shape[2]))
        scores[rows.start : rows.stop] = own
    return maps, scores


def _apply(fitted: Fitted, incoming: Incoming, out: Path, regions: Regions, mask: Path | None) -> dict[str, Any]:
    wanted = shape_of(fitted.dataset)
    if wanted == "volume" and incoming.kind == "picture":
        raise DataError(f"{incoming.first}: {fitted.job.dataset.name} is made of volumes.", "Give NIfTI or DICOM.")
    if wanted == "frame" and incoming.kind == "nifti":
        raise DataError(f"{incoming.first}: {fitted.job.dataset.name} is made of frames.", "Give PNG or TIFF.")
    flat = incoming.kind == "picture" or (incoming.kind == "dicom" and len(incoming.files) == 1)
    target = out / incoming.name
    if wanted == "frame" or (wanted == "any" and flat):
        frame = read_frame(incoming, fitted.spec.channels)
        region = None if mask is None else regions.of_frame(mask, frame)
        image, body = normalise_new(fitted.dataset, frame, None, fitted.job.dataset.recipe, region=region)
        maps, own = predict_planes(fitted, image[None], body[None])
        kept, values = [0], maps[body[None]]
        file = write_picture(target, maps[0], calibrated_scale(fitted.path) or own_scale(maps[0]))
    else:
        volume = read_new_volume(incoming)
        region = None if mask is None else regions.of_volume(mask, incoming, volume)
        image, body = normalise_new(
            fitted.dataset, volume.data, volume.spacing, fitted.job.dataset.recipe, volume.modality, region
        )
        kept = [int(z) for z in np.flatnonzero(body.any(axis=(0, 1)))]
        planes = np.ascontiguousarray(np.stack([axial(image, z) for z in kept])[:, None])
        bodies = np.ascontiguousarray(np.stack([axial(body, z) for z in kept]))
        maps, own = predict_planes(fitted, np.repeat(planes, fitted.spec.channels, axis=1), bodies)
        values = maps[bodies]
        # Outside the body nothing was predicted that counts: the least value of the inside stands there.
        whole = np.full(body.shape, values.min(), np.float32)
        for plane, inside, z in zip(maps, bodies, kept, strict=True):
            whole[..., z] = np.where(inside, plane, values.min()).T[::-1, ::-1]
        file = write_nifti(target, whole, volume.original)
    return {
        "input": incoming.name,
        "kind": incoming.kind,
        "slices": len(kept),
        "score": round(top_mean(values, fitted.top_fraction), 6),
        "own_score": round(float(own.max()), 6),
        "top_slice": "" if maps.shape[0] == 1 and flat else kept[int(own.argmax())],
        "heatmap": file.relative_to(out).as_posix(),
    }


def _about(incoming: Incoming, error: DataError) -> str:
    return f"{incoming.first}: {error.message.rstrip('.')}. {error.remedy}".strip()


def _spec(path: Path, size: int, polarity: int) -> ImageSpec:
    """Returns the shape that a run was built for: its spec.json, or grey where there is none."""
    file = path / "spec.json"
    if not file.exists():
        return ImageSpec(1, size, size, polarity)
    try:
        return ImageSpec(**{key: int(value) for key, value in read_json(file).items()})
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{file} is damaged.", REMAKE) from error


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row[name] for name in COLUMNS] for row in rows)
    return text.getvalue()
