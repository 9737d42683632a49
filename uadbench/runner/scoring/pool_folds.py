"""One record of several fits, one per fold: the cases of all test roles, each scored by the model of its own fold."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from uadbench.core.errors import DataError
from uadbench.core.job import Job
from uadbench.core.record import Cost, DatasetPart, Fold, Record, stable_hash
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.evaluation.scoring.folds import fold_metrics
from uadbench.records.layout import hash_files
from uadbench.runner.storage.run_folder import RunFolder

TABLES = ("cases.csv", "curves.json")


def pool_folds(runs: Sequence[Path], root: Path) -> tuple[Record, Path]:
    """Writes ``<root>/<id>/`` from the finished runs of all folds, in order.

    Args:
        runs: Folders of the runs.
        root: Root of runs.

    Raises:
        DataError: If a run is not finished, the runs differ in more than the fold, or a case is in two folds.
    """
    parts = [_finished(run) for run in runs]
    jobs = [RunFolder(run).job() for run in runs]
    first, job = parts[0], jobs[0]
    for part in parts[1:]:
        same = ("method", "protocol", "seed", "test_on")
        if any(getattr(part, key) != getattr(first, key) for key in same):
            raise DataError(f"Runs {first.id} and {part.id} differ in more than the fold.", "Pool runs of one command.")
    pooled = Job(
        method=job.method,
        dataset=pooled_dataset([part.dataset for part in parts]),
        protocol=job.protocol,
        seed=job.seed,
        precision=job.precision,
    )
    table = pool_cases(runs)
    folder = RunFolder(root / pooled.id)
    with folder.locked():
        folder.save_job(pooled)
        folder.write("cases.csv", lambda path: table.to_csv(path, index=False, lineterminator="\n"))
        folder.write_text("curves.json", json.dumps({"folds": [part.id for part in parts]}, indent=1))
        record = Record(
            id=pooled.id,
            seed=pooled.seed,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            status="done",
            method=pooled.method,
            dataset=pooled.dataset,
            protocol=pooled.protocol,
            metrics=fold_metrics(load_protocol(pooled.protocol.name), table, pooled.seed),
            ledger=first.ledger.model_copy(
                update={
                    name: max(getattr(part.ledger, name) for part in parts)
                    for name in ("train_pixel_labels", "train_image_labels")
                }
            ),
            cost=_cost(parts),
            env=first.env.model_copy(update={"notes": [*first.env.notes, f"Pooled from {len(parts)} folds."]}),
            hashes={name: value for name, value in hash_files(folder.path).items() if name in TABLES},
            folds=[
                Fold(
                    record=part.id,
                    fingerprint=part.dataset.fingerprint,
                    weights=part.hashes.get("weights.safetensors", ""),
                    patients=int(_cases(run)["patient"].nunique()),
                )
                for part, run in zip(parts, runs, strict=True)
            ],
        )
        stored = folder.record()
        if stored is not None and stored.model_copy(update={"created": record.created}) == record:
            return stored, folder.path
        folder.write_text(folder.record_file.name, record.model_dump_json(indent=1))
    return record, folder.path


def pooled_dataset(parts: Sequence[DatasetPart]) -> DatasetPart:
    """Returns the data entry of the pooled record, for all folds together."""
    first = parts[0]
    recipe = first.recipe.rpartition("-fold-")[0] or first.recipe
    return first.model_copy(
        update={
            "recipe": f"{recipe}-{len(parts)}-folds",
            "fingerprint": stable_hash([part.fingerprint for part in parts], 64),
            "ranked": False,
            "notes": [*first.notes, "Intervals describe: patients of one fold share a model."],
        }
    )


def pool_cases(runs: Sequence[Path]) -> pd.DataFrame:
    """Returns the cases of all folds, one table.

    Raises:
        DataError: If a case is in two folds.
    """
    table = pd.concat([_cases(run) for run in runs], ignore_index=True)
    double = table["case"][table["case"].duplicated()]
    if len(double):
        raise DataError(f"The case {double.iloc[0]} is tested in two folds.", "Prepare the folds again.")
    return table


def _cases(run: Path) -> pd.DataFrame:
    """Reads a table of cases with round-trip precision; names remain text."""
    with (run / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = pd.DataFrame(rows)
    for name in table.columns:
        if name == "lesion":
            table[name] = table[name] == "True"
        elif name not in ("case", "patient", "kind", "cohort"):
            table[name] = [float(value) if value else math.nan for value in table[name]]
    return table


def _finished(run: Path) -> Record:
    record = RunFolder(run).record()
    if record is None or record.status != "done":
        raise DataError(f"{run} holds no finished run.", "Run that fold again.")
    return record


def _cost(parts: Sequence[Record]) -> Cost | None:
    costs = [part.cost for part in parts if part.cost is not None]
    if len(costs) < len(parts):
        return None
    return Cost(
        train_s=round(sum(cost.train_s for cost in costs), 3),
        predict_ms_per_image=round(sum(cost.predict_ms_per_image for cost in costs) / len(costs), 3),
        peak_gb=max(cost.peak_gb for cost in costs),
        parameters=costs[0].parameters,
        train_images_seen=sum(cost.train_images_seen for cost in costs),
    )
