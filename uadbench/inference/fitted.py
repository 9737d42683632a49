"""A finished run ready to be applied, loaded from its folder: config, image shape and weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uadbench.core.catalog import DATASETS, METHODS
from uadbench.core.errors import REMAKE, DataError
from uadbench.core.job import EXTERNAL, Job
from uadbench.core.method import Method
from uadbench.core.reading import read_json
from uadbench.core.types import ImageSpec
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.inference.answers import Calibration, read_calibration
from uadbench.records.environment import recorded_numerics
from uadbench.runner.execution.device import pick_device
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor
from uadbench.runner.execution.seeded import build_seeded
from uadbench.runner.storage.run_folder import RunFolder


@dataclass(frozen=True)
class Fitted:
    """A run ready to be applied.

    Attributes:
        path: Its folder.
        job: Its definition.
        predict: The method with its weights and its padded batch shape.
        spec: Shape of its images.
        top_fraction: Share of the body whose mean is the image score.
        dataset: The training dataset, which defines the scale and whether images are volumes.
        calibration: Threshold, healthy scores and the scale of its store.
    """

    path: Path
    job: Job
    predict: FixedBatchPredictor
    spec: ImageSpec
    top_fraction: float
    dataset: Any
    calibration: Calibration

    @property
    def method(self) -> Method:
        """The method with its weights."""
        return self.predict.method


def load_fitted(path: Path, device: str = "auto", rule: str | None = None) -> Fitted:
    """Loads a finished run without its data.

    Raises:
        DataError: If it is not a finished run with weights.
    """
    folder = RunFolder(path)
    record = folder.finished_record()
    if record.method.preset == EXTERNAL:
        raise DataError(f"{path} contains maps of an external system.", "There are no weights to predict from.")
    job = folder.job()
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
    numerics = recorded_numerics(record.env)
    predict = FixedBatchPredictor(method, job.seed, config.predict_batch, target, numerics=numerics)
    return Fitted(path, job, predict, spec, fraction, dataset, read_calibration(path, rule))


def _spec(path: Path, size: int, polarity: int) -> ImageSpec:
    """Returns the shape that a run was built for: its spec.json, or grey images if there is none."""
    file = path / "spec.json"
    if not file.exists():
        return ImageSpec(1, size, size, polarity)
    try:
        return ImageSpec(**{key: int(value) for key, value in read_json(file).items()})
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{file} is damaged.", REMAKE) from error
