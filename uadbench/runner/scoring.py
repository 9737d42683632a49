"""Scores stored maps and writes cases.csv, curves.json and overview.png. Needs no model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from uadbench.core.roles import Role
from uadbench.data.store import Store
from uadbench.evaluation.cases import CaseMaps
from uadbench.evaluation.protocol import Protocol
from uadbench.evaluation.score import Evaluation, score
from uadbench.runner.folder import RunFolder
from uadbench.runner.overview import draw_overview
from uadbench.runner.predict import StoredCases

HEADLINE = "healthy-fpr@0.01"


def score_run(
    train: Store, test: Store, folder: RunFolder, protocol: Protocol, seed: int
) -> tuple[Evaluation, dict[str, str]]:
    """Scores the maps of a run.

    Args:
        train: Store of calib and val.
        test: Store of test.
        folder: The run.
        protocol: Rules.
        seed: Seed of the bootstrap.

    Returns:
        The evaluation, and the hashes of maps, cases, curves and weights.
    """
    calib = _cases(train, Role.CALIB, folder, masks=False)
    cases = _cases(test, Role.TEST, folder, masks=True)
    val_cases = _cases(train, Role.VAL, folder, masks=True) if train.role(Role.VAL) else None
    evaluation = score(protocol, calib, cases, seed=seed, val=val_cases)
    folder.write("cases.csv", lambda path: evaluation.cases.to_csv(path, index=False, lineterminator="\n"))
    folder.write_text("curves.json", json.dumps(evaluation.curves, indent=1, sort_keys=True, allow_nan=False))
    threshold = evaluation.thresholds.get(HEADLINE)
    folder.write("overview.png", lambda path: draw_overview(path, cases, evaluation.cases, threshold))
    return evaluation, hash_files(folder.path)


def _cases(store: Store, role: Role, folder: RunFolder, *, masks: bool) -> Sequence[CaseMaps]:
    items = store.role(role)
    return StoredCases(store, items, folder.maps / role.value, masks=masks) if items else []


def hash_files(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every artefact of a run that its record vouches for, by relative path."""
    names = ["weights.safetensors", "cases.csv", "curves.json"]
    names += [file.relative_to(folder).as_posix() for file in sorted(folder.glob("maps/*/*.*"))]
    hashes: dict[str, str] = {}
    for name in names:
        file = folder / name
        if file.exists():
            with file.open("rb") as stream:
                hashes[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return hashes
