"""The test role is closed to the tuner: by what it is handed and by what it may import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.storage.store import Store
from uadbench.tuning.task import StudyTask
from uadbench.tuning.view import TuningView
from uadbench.tuning.worker import open_view

ROOT = Path(__file__).resolve().parents[2]


def task(store: Path, folder: Path, **options: object) -> StudyTask:
    values = {"method": "dae", "dataset": "carotid_us", "store": store, "name": "s", "trials": 1, "folder": folder}
    return StudyTask.model_validate({**values, "storage": f"sqlite:///{folder}/s.db", **options})


def test_a_view_cannot_hold_the_test_role(tiny_store: Path) -> None:
    with pytest.raises(DataError, match="never reads the test role"):
        TuningView(Store(tiny_store), [Role.CALIB, Role.TEST])


@pytest.mark.parametrize("objective", ["synthetic", "val"])
def test_test_items_are_neither_listed_nor_readable(tiny_store: Path, tmp_path: Path, objective: str) -> None:
    view = open_view(task(tiny_store, tmp_path, objective=objective))
    assert view.role(Role.TEST) == []
    assert bool(view.role(Role.VAL)) == (objective == "val")
    for item in Store(tiny_store).role(Role.TEST):
        for read in (view.image, view.body, view.mask):
            with pytest.raises(DataError, match="not accessible to the tuner"):
                read(item)


def test_a_made_up_item_reaches_its_own_pixels_alone(tiny_store: Path) -> None:
    store = Store(tiny_store)
    view = TuningView(store, [Role.CALIB])
    honest, secret = store.role(Role.CALIB)[0], store.role(Role.TEST)[0]
    forged = honest.model_copy(update={"offset": secret.offset})
    assert np.array_equal(view.image(forged), store.image(honest))
    with pytest.raises(DataError):
        view.image(secret.model_copy(update={"role": Role.CALIB}))


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("from uadbench.runner.planning.datasets import open_source", "uadbench.runner.planning.datasets"),
        ("import uadbench.datasets.carotid_us.phantom", "uadbench.datasets.carotid_us"),
    ],
)
def test_an_import_of_a_generator_breaks_the_contract(tmp_path: Path, line: str, target: str) -> None:
    import shutil

    for name in ("uadbench", "methods", "datasets"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "uadbench/tuning/judge.py"
    file.write_text(f"{file.read_text()}\n{line}\n")
    subprocess.run([sys.executable, ROOT / "tools/import_contracts.py", tmp_path], check=True)
    command = [Path(sys.executable).with_name("lint-imports"), "--config", ".importlinter", "--no-cache", "--no-logo"]
    result = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert result.returncode == 1
    broken = [row for row in result.stdout.splitlines() if row.endswith("BROKEN") or " BROKEN" in row]
    assert any("reaches no phantom's generator" in row for row in broken), result.stdout
    assert target in result.stdout
