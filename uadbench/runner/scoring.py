"""Scores stored maps and writes cases.csv, curves.json and overview.png. Needs no model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from uadbench.core.roles import Role
from uadbench.data.store import Item, Pixels, Store
from uadbench.data.synthetic import ForeignPatches
from uadbench.evaluation.protocol import Protocol
from uadbench.evaluation.score import Evaluation, score
from uadbench.runner.folder import RunFolder
from uadbench.runner.overview import draw_overview
from uadbench.runner.predict import StoredCases

HEADLINE = "healthy-fpr@0.01"
SYNTHETIC = "synthetic"


def score_run(
    train: Store, test: Store, folder: RunFolder, protocol: Protocol, seed: int, *, present_only: bool = False
) -> tuple[Evaluation, dict[str, str]]:
    """Scores the maps of a run.

    Args:
        train: Store of calib and val.
        test: Store of test.
        folder: The run.
        protocol: Rules.
        seed: Seed of the bootstrap.
        present_only: Whether parts without stored maps are left out (outside systems); otherwise they are an error.

    Returns:
        The evaluation, and the hashes of maps, cases, curves and weights.
    """
    cases = {
        name: StoredCases(pixels, items, folder.maps / name, masks=True)
        for name, (pixels, items) in scored_parts(train, test).items()
        if not present_only or (folder.maps / name).exists()
    }
    evaluation = score(
        protocol,
        cases.get(Role.CALIB.value, []),
        cases[Role.TEST.value],
        seed=seed,
        synthetic=cases.get(SYNTHETIC),
        val=cases.get(Role.VAL.value),
    )
    folder.write("cases.csv", lambda path: evaluation.cases.to_csv(path, index=False, lineterminator="\n"))
    folder.write_text("curves.json", json.dumps(evaluation.curves, indent=1, sort_keys=True, allow_nan=False))
    threshold = evaluation.thresholds.get(HEADLINE)
    folder.write("overview.png", lambda path: draw_overview(path, cases[Role.TEST.value], evaluation.cases, threshold))
    return evaluation, hash_files(folder.path)


def scored_parts(train: Store, test: Store) -> dict[str, tuple[Pixels, list[Item]]]:
    """Returns what a method predicts and the scorer reads, by name: calib, synthetic, val and test, where present."""
    parts: dict[str, tuple[Pixels, list[Item]]] = {}
    calib = train.role(Role.CALIB)
    if calib:
        patches = ForeignPatches(train, calib)
        parts[Role.CALIB.value] = (train, calib)
        parts[SYNTHETIC] = (patches, patches.items)
    if train.role(Role.VAL):
        parts[Role.VAL.value] = (train, train.role(Role.VAL))
    parts[Role.TEST.value] = (test, test.role(Role.TEST))
    return parts


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
