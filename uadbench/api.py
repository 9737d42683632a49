"""The Python interface for notebooks: the same jobs, records and stores as the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uadbench.core.catalog import METHODS
from uadbench.core.dataset import no_progress
from uadbench.core.method import Method
from uadbench.core.record import Record
from uadbench.data.store import Store
from uadbench.runner.job import Precision
from uadbench.runner.plan import plan_run
from uadbench.runner.run import execute
from uadbench.runner.sources import open_source
from uadbench.runner.verify import open_run

if TYPE_CHECKING:
    import pandas as pd


def load_dataset(name: str, source: str = "phantom") -> Store:
    """Opens a phantom (made on first use) or a prepared folder.

    Args:
        name: Registry name, e.g. "carotid_us".
        source: "phantom" or the path of a prepared store.

    Raises:
        UserError: If there is no such dataset, or the folder cannot be used.
    """
    return open_source(name, source, no_progress)


def run(
    method: str,
    dataset: str,
    *,
    source: str = "phantom",
    preset: str = "quick",
    protocol: str = "strict-v1",
    overrides: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
    out: Path | str = "runs",
    fresh: bool = False,
) -> Record:
    """Runs a method on a dataset, or returns the stored record of the same job.

    Args:
        method: Registry name, e.g. "synomaly".
        dataset: Registry name, e.g. "carotid_us".
        source: "phantom" or the path of a prepared store.
        preset: smoke, quick, standard or paper.
        protocol: Rules of scoring.
        overrides: Values of the method's config.
        seed: Seed of training and inference.
        device: auto, cpu or cuda.
        precision: auto, fp32 or bf16.
        out: Root under which ``<id>/`` is made.
        fresh: Redo it from the start.

    Raises:
        UserError: If a name or a value is not allowed.
        JobFailed: If the job failed.
    """
    plan = plan_run(
        method=method,
        train=load_dataset(dataset, source),
        preset=preset,
        protocol=protocol,
        overrides=overrides,
        seed=seed,
        precision=precision,
    )
    return execute(plan, root=Path(out), device=device, fresh=fresh)[0]


def load_method(run_folder: Path | str, source: str | None = None) -> Method:
    """Returns the fitted method of a run, on the CPU.

    Args:
        run_folder: ``runs/<id>``.
        source: The prepared folder, if the run did not use a phantom.

    Raises:
        DataError: If the folder holds no finished run.
    """
    import torch

    from uadbench.runner.run import build_method

    folder, _, plan = open_run(Path(run_folder), source, None, no_progress)
    method = build_method(plan, torch.device("cpu"))
    method.load_state_dict(folder.load_weights())
    return method


def to_dataframe(records: Iterable[Record]) -> pd.DataFrame:
    """Returns one row a record and metric, with value, interval, number of patients and threshold rule."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "id": record.id,
                "method": record.method.label,
                "dataset": (record.test_on or record.dataset).name,
                "seed": record.seed,
                "status": record.status,
                "metric": key,
                **metric.model_dump(include={"value", "low", "high", "n_patients", "rule"}),
            }
            for record in records
            for key, metric in record.metrics.items()
        ]
    )


__all__ = ["METHODS", "Record", "load_dataset", "load_method", "run", "to_dataframe"]
