"""Records as the runner writes them, made up for tests of the report."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from uadbench.core.record import stable_hash
from uadbench.core.seeding import numpy_generator
from uadbench.evaluation.cases import CaseMaps, Cases
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.evaluation.scoring.score import score

PATIENTS = 24


def make_record(method: str = "synomaly", seed: int = 0, value: float = 0.5, **changes: Any) -> dict[str, Any]:
    """A record of a finished run, as the runner writes it; ``a__b=value`` changes a nested field."""
    metric = {"low": value - 0.05, "high": value + 0.05, "n_patients": PATIENTS}
    record: dict[str, Any] = {
        "id": "",
        "seed": seed,
        "created": "2026-01-01T00:00:00+00:00",
        "status": "done",
        "method": {
            "name": method,
            "label": method,
            "version": "1",
            "supervision": "healthy",
            "preset": "quick",
            "config": {"image_size": 64},
        },
        "dataset": {
            "name": "carotid_us",
            "version": "1",
            "recipe": "phantom",
            "fingerprint": "f" * 64,
            "source": "phantom",
        },
        "protocol": {"name": "strict-v1", "version": "1", "hash": "abc"},
        "metrics": {
            "case_ap": {"value": value, **metric},
            "dice@healthy-fpr@0.01": {"value": value, **metric, "rule": "healthy-fpr@0.01", "ceiling": 0.9},
        },
        "ledger": {},
        "cost": {"train_s": 10.0, "predict_ms_per_image": 2.0, "peak_gb": 1.0, "parameters": 1000},
        "env": {"commit": "c", "dirty": False, "device": "cpu", "precision": "fp32", "versions": {}},
    }
    for path, new in changes.items():
        *parents, last = path.split("__")
        target = record
        for parent in parents:
            target = target[parent]
        target[last] = new
    record["id"] = record["id"] or stable_hash([record["method"], record["dataset"], record["protocol"], seed])
    return record


def write(folder: Path, record: dict[str, Any], cases: dict[str, float] | None = None) -> Path:
    place = folder / record["protocol"]["name"] / record["dataset"]["name"] / record["method"]["name"]
    place.mkdir(parents=True, exist_ok=True)
    if cases is not None:
        text = "case,patient,lesion,ap\n" + "".join(f"{p},{p},True,{ap}\n" for p, ap in cases.items())
        (place / f"{record['id']}.cases.csv").write_text(text)
        record["hashes"] = {"cases.csv": hashlib.sha256(text.encode()).hexdigest()}
    file = place / f"{record['id']}.json"
    file.write_text(json.dumps(record))
    return file


def three_seeds(folder: Path, method: str, value: float, **changes: Any) -> None:
    for seed in range(3):
        write(folder, make_record(method, seed, value + 0.01 * seed, **changes))


def made_cases(
    patients: int, *, healthy: bool = False, slices: int = 1, size: int = 24, skill: float = 1.0
) -> list[CaseMaps]:
    """Cases with a disc as lesion in every other patient, or in none; maps see it the better the larger the skill."""
    cases: list[CaseMaps] = []
    rows, columns = np.mgrid[:size, :size]
    body = (rows - size / 2) ** 2 + (columns - size / 2) ** 2 < (size / 2) ** 2
    for p in range(patients):
        rng = numpy_generator("report", p, int(healthy), slices)
        lesion = not healthy and p % 2 == 0
        row, column = rng.integers(size // 3, 2 * size // 3, 2)
        disc = (rows - row) ** 2 + (columns - column) ** 2 < rng.integers(2, size // 4) ** 2
        mask = np.repeat((lesion * disc).astype(np.uint8)[None], slices, 0)
        maps = (rng.random((slices, size, size)) + skill * mask).astype(np.float32)
        cases.append(
            CaseMaps(
                case=f"case-{p:03d}",
                patient=f"{'calib' if healthy else 'test'}-{p:03d}",
                kind="disc" if lesion else "",
                cohort="made",
                maps=maps,
                body=np.repeat(body[None], slices, 0),
                mask=mask,
                spacing=(1.0, 0.5, 0.5),
                own_score=float(maps.max()),
                image=(mask * 0.8 - 0.4 + 0.1 * rng.standard_normal(maps.shape)).astype(np.float32),
                reconstruction=np.full(maps.shape, -0.4, np.float32),
            )
        )
    return cases


def scored(record: dict[str, Any], calib: Cases, test: Cases) -> dict[str, str]:
    """Scores cases for a record, which gets metrics and hashes; returns the texts of cases.csv and curves.json."""
    evaluation = score(load_protocol("strict-v1"), calib, test, seed=record["seed"])
    files = {
        "cases.csv": evaluation.cases.to_csv(index=False, lineterminator="\n"),
        "curves.json": json.dumps(evaluation.curves, sort_keys=True),
    }
    record["metrics"] = {key: metric.model_dump() for key, metric in evaluation.metrics.items()}
    record["hashes"] = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    return files


def export(records: Path, record: dict[str, Any], files: dict[str, str]) -> None:
    """Writes a record with its tables as they are committed."""
    file = write(records, record)
    for name, text in files.items():
        file.with_name(f"{record['id']}.{name}").write_text(text)


def store(runs: Path, record: dict[str, Any], files: dict[str, str]) -> Path:
    """Writes a record with its tables as a stored run; returns its folder."""
    folder = runs / record["id"]
    folder.mkdir(parents=True)
    for name, text in {**files, "record.json": json.dumps(record)}.items():
        (folder / name).write_text(text)
    return folder
