"""Folds: every patient is tested once by a model that has not seen the patient, and one record holds all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.command import uadbench
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError, UserError
from uadbench.core.record import Record
from uadbench.core.roles import Role
from uadbench.core.types import ImageSpec
from uadbench.data.storage.folds import GAP, assign, fold_folders, write_folds
from uadbench.data.storage.store import Store, StoreWriter
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.evaluation.scoring.folds import BETWEEN_CASES
from uadbench.records.export import export_record
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.datasets import open_source
from uadbench.runner.planning.plan import plan_run
from uadbench.runner.scoring.pool_folds import pool_folds
from uadbench.runner.suites.executors.local import LocalExecutor
from uadbench.runner.suites.suite import Suite
from uadbench.runner.suites.suite_run import SuiteRun
from uadbench.testing.images import synthetic_images
from uadbench.verification.check_record import recompute_from_tables
from uadbench.verification.verify_run import verify_run

PATIENTS, SLICES, FOLDS = 7, 9, 3
SPEC = ImageSpec(1, 40, 40)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Seven volumes with a lesion in slice 4 alone, all of them in the role of test."""
    out = tmp_path_factory.mktemp("base") / "store"
    with StoreWriter(
        out,
        dataset="folder",
        version="2",
        source="real",
        recipe="strict",
        ranked=False,
        modality="mr-t1c",
        notes=["own"],
    ) as writer:
        for patient in range(PATIENTS):
            healthy = synthetic_images(SLICES, SPEC, part=f"h{patient}")
            sick = synthetic_images(SLICES, SPEC, part=f"l{patient}", lesions=True)
            for z in range(SLICES):
                images = sick if z == 4 else healthy
                mask = np.zeros((40, 40), np.uint8)
                if z == 4 and images.mask is not None:
                    mask = images.mask[z, 0].numpy()
                writer.add(
                    uid=f"p{patient}-z{z}",
                    case=f"p{patient}",
                    patient=f"p{patient}",
                    role=Role.TEST,
                    cohort="own",
                    image=images.images.image[z].numpy(),
                    body=images.images.body[z, 0].numpy(),
                    mask=mask,
                    index=z,
                    kind="lesion" if z == 4 else "lesion-patient",
                )
    return Store(out)


@pytest.fixture(scope="module")
def folds(base: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("folds") / "store"
    write_folds(base, out, FOLDS, no_progress)
    return out


@pytest.fixture(scope="module")
def pooled(folds: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Path, list[Path]]:
    root = tmp_path_factory.mktemp("runs")
    runs: list[Path] = []
    for fold in fold_folders(folds):
        plan = plan_run(method="position", train=Store(fold), preset="smoke")
        runs.append(execute(plan, root=root)[1])
    record, folder = pool_folds(runs, root)
    return record, folder, runs


@given(st.integers(3, 60), st.integers(2, 10))
@settings(deadline=None)
def test_every_patient_is_tested_once_and_each_fold_has_all_roles(patients: int, count: int) -> None:
    names = [f"p{n}" for n in range(patients)]
    if patients < count or patients - -(-patients // count) < 2:
        with pytest.raises(UserError, match="too few"):
            assign(names, count)
        return
    found = assign(names, count)
    tested = Counter(name for roles in found for name, role in roles.items() if role == Role.TEST)
    assert tested == Counter(names)
    for roles in found:
        assert set(roles) == set(names)
        assert set(roles.values()) == {Role.TEST, Role.CALIB, Role.TRAIN}
    assert assign(names[::-1], count) == found


def test_eleven_patients_in_four_folds_are_six_two_three() -> None:
    counts = [Counter(roles.values()) for roles in assign([f"{n:02d}" for n in range(1, 12)], 4)]
    assert [tuple(count[role] for role in (Role.TRAIN, Role.CALIB, Role.TEST)) for count in counts] == [
        (6, 2, 3),
        (6, 2, 3),
        (6, 2, 3),
        (7, 2, 2),
    ]


def test_training_slices_keep_away_from_lesions_and_test_has_all(folds: Path, base: Store) -> None:
    for fold in fold_folders(folds):
        store = Store(fold)
        for item in store.items:
            if item.role == Role.TEST:
                continue
            assert not item.lesion
            assert abs(item.index - 4) > GAP
        tested = {item.patient for item in store.role(Role.TEST)}
        assert len(store.role(Role.TEST)) == SLICES * len(tested)
        assert not store.manifest.ranked
        assert store.manifest.modality == "mr-t1c"
        assert any("3 folds" in note for note in store.manifest.notes)
        store.verify()
        one = store.role(Role.TEST)[0]
        np.testing.assert_array_equal(store.image(one), base.image(base.item(one.uid)))


def test_all_patients_with_lesions_are_tested_whole_and_healthy_slices_are_refused(tmp_path: Path) -> None:
    raw, rows = tmp_path / "raw", ["image,mask,patient,slice,split"]
    raw.mkdir()
    rng = np.random.default_rng(0)
    for patient in range(5):
        for z in range(9):
            image, mask = rng.integers(60, 200, (48, 48), np.uint8), np.zeros((48, 48), np.uint8)
            mask[20:26, 20:26] = 255 * (z == 4)
            for name, array in ((f"p{patient}-{z}.png", image), (f"m{patient}-{z}.png", mask)):
                Image.fromarray(array).save(raw / name)
            rows.append(f"p{patient}-{z}.png,m{patient}-{z}.png,p{patient},{z},test")
    (raw / "metadata.csv").write_text("\n".join(rows))
    command = ["prepare", "folder", "--source", str(raw), "--out", str(tmp_path / "out"), "--set", "folds=2"]
    refused = uadbench(*command, "--set", "healthy=slices", "--set", "body=frame")
    assert refused.returncode == 2
    assert "would drop slices with lesions" in refused.stderr
    assert not (tmp_path / "out").exists()
    done = uadbench(*command, "--set", "body=frame")
    assert done.returncode == 0, done.stderr
    stores = [Store(fold) for fold in fold_folders(tmp_path / "out")]
    tested = [item for store in stores for item in store.role(Role.TEST)]
    assert (len(tested), sum(item.lesion for item in tested)) == (45, 5)
    assert not any(item.lesion for store in stores for role in (Role.TRAIN, Role.CALIB) for item in store.role(role))


def test_a_folder_of_folds_is_named_where_one_store_is_needed(folds: Path) -> None:
    with pytest.raises(DataError, match="3 folds"):
        open_source("folder", str(folds), no_progress)


def test_the_pooled_record_holds_all_patients_and_no_number_across_models(
    pooled: tuple[Record, Path, list[Path]],
) -> None:
    record, folder, runs = pooled
    tables = [pd.read_csv(run / "cases.csv", dtype={"case": str, "patient": str}) for run in runs]
    whole = pd.read_csv(folder / "cases.csv", dtype={"case": str, "patient": str})
    assert sorted(whole["patient"]) == [f"p{n}" for n in range(PATIENTS)]
    # Thresholds and numbers of a case are those of its own fold.
    for table in tables:
        for _, row in table.iterrows():
            mine = whole[whole["case"] == row["case"]].iloc[0]
            assert mine["ap"] == row["ap"]
            assert mine["dice@healthy-fpr@0.01"] == row["dice@healthy-fpr@0.01"]
    assert record.metrics["case_ap"].value == pytest.approx(pd.concat(tables)["ap"].mean())
    assert record.metrics["case_ap"].n_patients == PATIENTS
    assert not [key for key in record.metrics if key.startswith(BETWEEN_CASES)]
    assert [fold.patients for fold in record.folds] == [3, 2, 2]
    assert len({fold.fingerprint for fold in record.folds}) == FOLDS
    assert not record.dataset.ranked
    assert any("ntervals describe" in note for note in record.dataset.notes)


def test_a_pooled_record_verifies_and_a_change_is_named(
    pooled: tuple[Record, Path, list[Path]], folds: Path, tmp_path: Path
) -> None:
    record, folder, _ = pooled
    assert verify_run(folder, str(folds), None, no_progress).problems == []
    file = export_record(record, folder, tmp_path / "records")

    def beside(name: str) -> Path:
        return file.with_suffix(f".{name}")

    assert recompute_from_tables(record, beside) == []
    better = record.metrics["case_ap"].model_copy(update={"value": 0.99})
    forged = record.model_copy(update={"metrics": {**record.metrics, "case_ap": better}})
    assert any("case_ap" in problem for problem in recompute_from_tables(forged, beside))
    made_up = record.model_copy(update={"metrics": {**record.metrics, "image_auroc": better}})
    assert any("image_auroc" in problem for problem in recompute_from_tables(made_up, beside))
    (folder / "record.json").write_text(forged.model_dump_json())
    assert any("case_ap" in problem for problem in verify_run(folder, str(folds), None, no_progress).problems)
    (folder / "record.json").write_text(record.model_dump_json(indent=1))
    with pytest.raises(DataError, match="--source"):
        verify_run(folder, None, None, no_progress)


def test_pooling_twice_gives_the_same_and_other_jobs_are_refused(
    pooled: tuple[Record, Path, list[Path]], folds: Path, tmp_path: Path
) -> None:
    record, folder, runs = pooled
    again, _ = pool_folds(runs, folder.parent)
    assert again == record
    other = execute(plan_run(method="random", train=Store(fold_folders(folds)[0]), preset="smoke"), root=tmp_path)[1]
    with pytest.raises(DataError, match="more than the fold"):
        pool_folds([other, *runs[1:]], tmp_path)
    with pytest.raises(DataError, match="two folds"):
        pool_folds([runs[0], runs[0]], tmp_path)


def test_a_suite_runs_each_fold_and_makes_one_record(folds: Path, tmp_path: Path) -> None:
    suite = Suite(
        name="toy",
        preset="smoke",
        seeds=[0],
        methods=["position", "random"],
        datasets=["folder@btp"],
        sources={"folder@btp": str(folds)},
        folds={"folder@btp": FOLDS},
    )
    run = SuiteRun(suite, tmp_path / "runs", tmp_path / "records", no_progress)
    assert len(run.planned) == 2 * FOLDS
    states = list(run.run(LocalExecutor(1, 0), "cpu"))[-1]
    assert {row.state for row in states} == {"done"}
    found = [Record.model_validate_json(file.read_text()) for file in (tmp_path / "runs").glob("*/record.json")]
    together = [record for record in found if record.folds]
    assert sorted(record.method.name for record in together) == ["position", "random"]
    assert {record.metrics["case_ap"].n_patients for record in together} == {PATIENTS}


def test_the_rules_have_metrics_for_the_pool(pooled: tuple[Record, Path, list[Path]]) -> None:
    assert f"dice@{load_protocol('strict-v1').headline}" in pooled[0].metrics


def test_prepare_and_run_take_folds(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    lines = ["image,mask,patient,slice,split,label"]
    for patient in range(4):
        for z in range(8):
            name = f"p{patient}z{z}"
            Image.fromarray(rng.integers(30, 200, (32, 32)).astype(np.uint8)).save(tmp_path / f"{name}.png")
            mask = np.zeros((32, 32), np.uint8)
            mask[10:16, 10:16] = 255
            Image.fromarray(mask).save(tmp_path / f"{name}-mask.png")
            drawn, label = (f"{name}-mask.png", "abnormal") if z == 0 else ("", "normal")
            lines.append(f"{name}.png,{drawn},p{patient},{z},test,{label}")
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    base = [sys.executable, "-m", "uadbench"]
    out = str(tmp_path / "out")
    command = [*base, "prepare", "folder", "--source", str(tmp_path), "--out", out, "--set", "folds=2"]
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert sorted(path.name for path in Path(out).iterdir()) == ["fold-1", "fold-2", "folds.json"]
    assert not (tmp_path / ".out.whole").exists()
    command = [*base, "run", "--method", "position", "--dataset", "folder", "--source", out, "--preset", "smoke"]
    ran = subprocess.run([*command, "--json"], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    record = json.loads(ran.stdout)
    assert len(record["folds"]) == 2
    assert record["metrics"]["case_ap"]["n_patients"] == 4
    bad = [*base, "prepare", "folder", "--source", str(tmp_path), "--out", f"{out}2", "--set", "folds=1"]
    refused = subprocess.run(bad, capture_output=True, text=True)
    assert refused.returncode == 2
    assert not Path(f"{out}2").exists()
