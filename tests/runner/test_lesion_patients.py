"""Lesion-free slices of patients with lesions in calib: the ledger says whose masks chose them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.support.folder_data import volumes
from uadbench.core.dataset import no_progress
from uadbench.core.roles import Role
from uadbench.data.storage.store import Store
from uadbench.datasets.folder import Folder
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import plan_run
from uadbench.verification.verify_run import verify_run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Eight patients with a lesion in slice 2 of 6, whose last slices are far enough from it."""
    root = tmp_path_factory.mktemp("sick")
    for n in range(4):
        bright = np.random.default_rng(n).uniform(0.7, 1.3, (20, 24, 6)).astype(np.float32)
        volumes(root / f"raw{n}", partial(np.multiply, bright))
        for folder in ("abnormal", "masks"):
            (root / "raw" / folder).mkdir(parents=True, exist_ok=True)
            for file in (root / f"raw{n}" / folder).iterdir():
                file.rename(root / "raw" / folder / f"{n}{file.name}")
    (root / "raw" / "normal").mkdir()
    Folder(healthy="slices").prepare(root / "raw", root / "store", "strict", 1, no_progress)
    return Store(root / "store")


def test_the_ledger_names_the_lesion_patients_of_healthy_fpr(store: Store, tmp_path: Path) -> None:
    patients = {item.patient for item in store.role(Role.CALIB)}
    plan = plan_run(method="intensity", train=store, preset="smoke", overrides={})
    record, folder, *_ = execute(plan, root=tmp_path, device="cpu")
    labels = record.ledger.threshold_labels
    said = f"masks that chose the slices of {len(patients)} lesion patients"
    assert patients
    assert labels["healthy-fpr@0.01"] == labels["healthy-fpr@0.001"] == said
    assert labels["oracle"] == "test masks"
    assert record.ledger.train_pixel_labels == store.manifest.health_masks > 0
    assert verify_run(folder, str(store.path), None, no_progress).problems == []
    file = folder / "record.json"
    file.write_text(file.read_text().replace(said, "none"))
    assert any(
        "threshold_labels" in problem for problem in verify_run(folder, str(store.path), None, no_progress).problems
    )
