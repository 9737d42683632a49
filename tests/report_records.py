"""Records as the runner writes them, made up for tests of the report."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from uadbench.core.record import stable_hash

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
