"""The Python interface for notebooks: the same jobs, records and stores as the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uadbench.core.catalog import METHODS
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError
from uadbench.core.job import Compile, Precision
from uadbench.core.method import Method
from uadbench.core.reading import read_json
from uadbench.core.record import Record
from uadbench.core.roles import Role
from uadbench.core.types import ImageSpec
from uadbench.data.reading.region import Regions
from uadbench.data.storage.batches import StoreBatches
from uadbench.data.storage.store import Store
from uadbench.inference.fitted import load_fitted
from uadbench.inference.frames import leaderboard, to_dataframe
from uadbench.inference.new_images import apply_run
from uadbench.inference.sklearn_detector import Detector
from uadbench.inference.stored_run import Run, stored_runs
from uadbench.runner.execution.device import pick_device
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.datasets import open_source
from uadbench.runner.planning.plan import plan_run
from uadbench.runner.planning.tuned_config import load_tuned
from uadbench.runner.storage.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Maps:
    """What a run predicted for one part of its data.

    Attributes:
        uids: Identifiers of the images.
        maps: Raw anomaly maps on the grid of the method, float32 (n, h, w), memory-mapped; larger is more anomalous.
        scores: The method's own image scores, (n,), if it has them.
        reconstructions: Healthy counterparts in [-1, 1], (n, c, h, w), memory-mapped, if the method makes them.
    """

    uids: list[str]
    maps: NDArray[np.float32]
    scores: NDArray[np.float32] | None = None
    reconstructions: NDArray[np.float16] | None = None


def load_dataset(name: str, source: str = "phantom") -> Store:
    """Opens a phantom (simulated on first use) or a prepared folder.

    Args:
        name: Registry name, e.g. "carotid_us".
        source: "phantom" or the path of a prepared store.

    Raises:
        UserError: If there is no such dataset, or the folder cannot be used.
    """
    return open_source(name, source, no_progress)


def load_images(store: Store, role: str = "train", size: int = 128) -> StoreBatches:
    """Returns the resized images of a role, without masks: ``epoch(16)`` iterates over them, ``sample`` draws some.

    Args:
        store: The result of ``load_dataset``.
        role: train, calib, labelled, val or test.
        size: Side in pixels.

    Raises:
        DataError: If there is no such role.
    """
    if role not in {each.value for each in Role}:
        raise DataError(f"There is no role '{role}'.", f"Use {', '.join(each.value for each in Role)}.")
    spec = ImageSpec(store.channels, size, size, store.manifest.polarity)
    return StoreBatches(store, store.role(Role(role)), spec)


def run(
    method: str,
    dataset: str,
    *,
    source: str = "phantom",
    test_on: str | None = None,
    test_source: str = "phantom",
    preset: str = "quick",
    protocol: str = "strict-v1",
    tuned: bool = False,
    overrides: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
    compiling: Compile = "auto",
    out: Path | str = "runs",
    fresh: bool = False,
) -> Run:
    """Runs a method on a dataset, or returns the stored run of the same job.

    Args:
        method: Registry name, e.g. "synomaly".
        dataset: Registry name, e.g. "carotid_us".
        source: "phantom" or the path of a prepared store.
        test_on: Dataset to test on, if different.
        test_source: Its source.
        preset: smoke, quick, standard or paper.
        protocol: Rules of scoring.
        tuned: Whether to use experiments/tuned/METHOD/DATASET.yaml.
        overrides: Values of the method's config.
        seed: Seed of training and inference.
        device: auto, cpu or cuda.
        precision: auto, fp32 or bf16.
        compiling: auto, on or off: whether networks are called through torch.compile.
        out: Root under which ``<id>/`` is made.
        fresh: Redo it from the start.

    Raises:
        UserError: If a name or a value is not allowed.
        JobFailed: If the job failed.
    """
    given = {dataset: source} | ({test_on: test_source} if test_on else {})
    pick_device(device)
    plan = plan_run(
        method=method,
        train=load_dataset(dataset, source),
        test=load_dataset(test_on, test_source) if test_on else None,
        preset=preset,
        protocol=protocol,
        tuned=load_tuned(method, dataset) if tuned else None,
        overrides=overrides,
        seed=seed,
        precision=precision,
    )
    _, folder, _ = execute(plan, root=Path(out), device=device, fresh=fresh, compiling=compiling)
    return Run(folder, {name: Path(place) for name, place in given.items() if place != "phantom"})


def load_run(path: Path | str, sources: Mapping[str, Path | str] | None = None) -> Run:
    """Returns a stored run.

    Args:
        path: ``runs/<id>``.
        sources: Folder of the prepared data by dataset name, for its figures; phantoms need none.

    Raises:
        DataError: If the folder holds no finished run.
    """
    return Run(path, {name: Path(place) for name, place in (sources or {}).items()})


def runs(root: Path | str = "runs") -> list[Run]:
    """Returns the finished runs below a folder, newest first.

    Args:
        root: Root of the runs.

    Raises:
        UserError: If there is no such folder.
    """
    return stored_runs(root)


def load_method(run_folder: Path | str, device: str = "cpu") -> Method:
    """Returns the fitted method of a run, a ``torch.nn.Module`` if its class is one. Needs no data.

    Args:
        run_folder: ``runs/<id>``.
        device: auto, cpu or cuda.

    Raises:
        DataError: If the folder does not hold a finished run.
    """
    return load_fitted(Path(run_folder), device).method


def load_record(run_folder: Path | str) -> Record:
    """Returns the record of a run.

    Raises:
        DataError: If there is none, or it cannot be read.
    """
    record = RunFolder(Path(run_folder)).record()
    if record is None:
        raise DataError(f"{run_folder} holds no record.", "Give the folder runs/ID of a run that ended.")
    return record


def load_cases(run_folder: Path | str) -> pd.DataFrame:
    """Returns the table of test cases of a run, one row per case.

    Raises:
        DataError: If there is none.
    """
    return Run(run_folder).cases


def load_maps(run_folder: Path | str, part: str = "test") -> Maps:
    """Returns what a run predicted.

    Args:
        run_folder: ``runs/<id>``.
        part: test, calib, val or synthetic.

    Raises:
        DataError: If there are no maps of that part.
    """
    folder = RunFolder(Path(run_folder)).maps / part
    try:
        uids = [str(uid) for uid in read_json(folder / "uids.json")]
        maps = np.load(folder / "maps.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{run_folder} holds no readable maps of '{part}'.", "Give a run that ended.") from error
    scores, made = folder / "scores.npy", folder / "reconstruction.npy"
    return Maps(
        uids,
        maps,
        np.load(scores, allow_pickle=False) if scores.exists() else None,
        np.load(made, mmap_mode="r", allow_pickle=False) if made.exists() else None,
    )


def predict(
    run_folder: Path | str,
    source: Path | str,
    out: Path | str,
    *,
    device: str = "auto",
    roi: Path | str | None = None,
    roi_labels: Iterable[int] = (),
) -> pd.DataFrame:
    """Applies a run to new images or volumes, as ``uadbench predict`` does.

    Args:
        run_folder: ``runs/<id>``.
        source: PNG, TIFF, NIfTI or DICOM file, or a folder of them.
        out: Output folder for heat-maps and scores.csv.
        device: auto, cpu or cuda.
        roi: Mask of the region of interest, or a folder of masks named like the inputs.
        roi_labels: Labels of the region in masks with several.

    Returns:
        One row per input.

    Raises:
        DataError: If an input cannot be used; the others are processed.
    """
    import pandas as pd

    regions = Regions(None if roi is None else Path(roi), tuple(roi_labels))
    applied = apply_run(Path(run_folder), Path(source), Path(out), device, no_progress, regions)
    if applied.problems:
        raise DataError(f"{len(applied.problems)} inputs could not be used: {'; '.join(applied.problems)}")
    return pd.DataFrame(applied.rows)


__all__ = [
    "METHODS",
    "Detector",
    "Maps",
    "Record",
    "Run",
    "leaderboard",
    "load_cases",
    "load_dataset",
    "load_images",
    "load_maps",
    "load_method",
    "load_record",
    "load_run",
    "predict",
    "run",
    "runs",
    "to_dataframe",
]
