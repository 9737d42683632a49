"""Abnormal images without masks: their label counts for image scores, and for nothing that needs pixels."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from tests.support.cases import make_cases
from tests.support.folder_data import listed, picture, prepare, put, table, two_folders
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.storage.contact_sheet import write_contact_sheet
from uadbench.data.storage.store import IGNORE, StoreWriter
from uadbench.evaluation.cases import CaseMaps, Slices
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.evaluation.scoring.score import Evaluation, score
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import plan_run
from uadbench.runner.scoring.score_run import scored_parts
from uadbench.testing.dataset_checks import check_dataset

STRICT = load_protocol("strict-v1")
OF_THE_IMAGE = {"image_auroc", "image_ap", "image_auroc_own", "image_ece"}


def unknown(cases: list[CaseMaps]) -> list[CaseMaps]:
    """The abnormal cases of another set, with their label alone."""
    sick = [case for case in cases if case.lesion.any()]
    return [replace(case, mask=np.full_like(case.maps, IGNORE, np.uint8), label_only=True) for case in sick]


@pytest.fixture(scope="module")
def calib() -> list[CaseMaps]:
    cases = make_cases(6, lesion_every=0, seed=1)
    return [replace(case, mask=None, maps=np.where(case.mask == IGNORE, 0, case.maps)) for case in cases]


@pytest.fixture(scope="module")
def pair(calib: list[CaseMaps]) -> tuple[Evaluation, Evaluation, list[CaseMaps]]:
    known = make_cases(12)
    blind = unknown(make_cases(12, seed=5))
    synthetic = make_cases(6, lesion_every=1, seed=3)
    options: dict[str, Any] = {"synthetic": synthetic, "val": make_cases(6, seed=4)}
    return score(STRICT, calib, known, **options), score(STRICT, calib, [*known, *blind], **options), blind


def test_pixel_metrics_do_not_feel_cases_with_a_label_alone(pair: tuple[Evaluation, Evaluation, Any]) -> None:
    without, with_them, _ = pair
    assert set(without.metrics) == set(with_them.metrics)
    for key, metric in without.metrics.items():
        if key not in OF_THE_IMAGE:
            assert with_them.metrics[key] == metric, key
    assert with_them.thresholds == without.thresholds
    assert with_them.curves == without.curves


def test_image_metrics_count_them(pair: tuple[Evaluation, Evaluation, list[CaseMaps]]) -> None:
    without, with_them, blind = pair
    table_ = with_them.cases
    assert table_["lesion"].sum() == without.cases["lesion"].sum() + len(blind)
    value = with_them.metrics["image_ap"].value
    assert value == pytest.approx(average_precision_score(table_["lesion"], table_["image_score"]))
    assert with_them.metrics["image_auroc"].value == pytest.approx(
        roc_auc_score(table_["lesion"], table_["image_score"])
    )
    rows = table_[table_["case"].isin([case.case for case in blind])]
    assert rows["ap"].isna().all()
    assert rows["dice@oracle"].isna().all()


def test_labels_alone_give_image_metrics_and_no_others(calib: list[CaseMaps]) -> None:
    healthy = [case for case in make_cases(12) if not case.lesion.any()]
    found = score(STRICT, calib, [*healthy, *unknown(make_cases(12))])
    assert 0.5 < (found.metrics["image_auroc"].value or 0) <= 1
    for key in ("case_ap", "dice@healthy-fpr@0.01", "pixel_auroc_pooled", "lesion_f1@healthy-fpr@0.01"):
        assert found.metrics[key].value is None, key
    assert found.metrics["healthy_fp_fraction"].value is not None
    alone = score(STRICT, calib, unknown(make_cases(12)))
    assert all(metric.value is None for key, metric in alone.metrics.items() if key in OF_THE_IMAGE)


def test_the_label_of_a_volume_is_not_that_of_its_slices() -> None:
    volume = unknown(make_cases(2, depth=3))
    assert len(Slices(volume)) == 0
    assert len(Slices(unknown(make_cases(2)))) == len(unknown(make_cases(2)))


def test_a_folder_without_masks_is_tested_on_and_not_ranked(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw")
    shutil.rmtree(raw / "masks")
    store = prepare(raw, tmp_path / "out")
    sick = [item for item in store.items if item.lesion]
    assert len(sick) == 8
    assert {item.role for item in sick} == {Role.TEST}
    assert all((store.mask(item) == IGNORE).all() for item in sick)
    assert not store.manifest.ranked
    assert any("8 abnormal images have no mask" in note for note in store.manifest.notes)
    assert [result for result in check_dataset(tmp_path / "out") if not result.passed] == []
    assert all(file.exists() for file in write_contact_sheet(store, tmp_path / "out"))


def test_a_table_may_have_masks_for_some(tmp_path: Path) -> None:
    raw = listed(tmp_path / "raw", ("train", "train", "calib", "val", "test", "test"))
    put(raw / "images" / "blind.png", picture(77, lesion=True)[0])
    text = (raw / "metadata.csv").read_text()
    (raw / "metadata.csv").write_text(f"{text}images/blind.png,,roi.png,Jane Doe 9,0,test,abnormal\n")
    store = prepare(raw, tmp_path / "out")
    assert store.manifest.ranked
    blind = [item for item in store.items if item.lesion and not (store.mask(item) == 1).any()]
    assert len(blind) == 1
    assert store.body(blind[0]).sum() == 32 * 28
    (raw / "metadata.csv").write_text(f"{text}images/blind.png,,roi.png,Jane Doe 9,0,val,abnormal\n")
    with pytest.raises(DataError, match=r"blind.png has no mask, which role val needs"):
        prepare(raw, tmp_path / "no")


def test_a_drawn_split_moves_nobody_else(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    raw = tmp_path / "raw"
    for n in range(8):
        image, mask = picture(n, lesion=n > 3)
        put(raw / f"{n}.png", image)
        put(raw / f"{n}-mask.png", 255 * mask.astype(np.uint8))
        sick = n > 3
        rows.append({"image": f"{n}.png", "mask": f"{n}-mask.png" if sick else "", "patient": f"p{n}"})
    before = prepare(table(raw, [{**row, "label": "1" if row["mask"] else "0"} for row in rows]), tmp_path / "a")
    put(raw / "9.png", picture(9)[0])
    rows.append({"image": "9.png", "mask": "", "patient": "p9"})
    labels = ["1" if row["mask"] or row["patient"] == "p9" else "0" for row in rows]
    after = prepare(
        table(raw, [{**row, "label": label} for row, label in zip(rows, labels, strict=True)]), tmp_path / "b"
    )
    assert [item.role for item in after.items][:-1] == [item.role for item in before.items]
    assert after.items[-1].role == Role.TEST


def test_only_test_takes_labels_alone(tmp_path: Path) -> None:
    item: dict[str, Any] = {
        "uid": "a",
        "case": "a",
        "patient": "p",
        "cohort": "c",
        "image": np.zeros((1, 8, 8)),
        "body": np.ones((8, 8)),
        "mask": np.zeros((8, 8)),
        "label_only": True,
    }
    for role in (Role.TRAIN, Role.VAL, Role.LABELLED):
        with (
            pytest.raises(DataError, match=f"role {role}"),
            StoreWriter(tmp_path / "s", dataset="folder", version="1", source="real", recipe="strict") as writer,
        ):
            writer.add(**item, role=role)


def test_a_run_scores_them_by_image(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw", 12)
    shutil.rmtree(raw / "masks")
    store = prepare(raw, tmp_path / "store")
    plan = plan_run(method="intensity", train=store, preset="smoke", overrides={"image_size": 40})
    record, folder, *_ = execute(plan, root=tmp_path / "runs", device="cpu")
    assert record.status == "done"
    assert record.metrics["image_auroc"].value is not None
    assert not math.isnan(record.metrics["image_auroc"].value)
    assert record.metrics["case_ap"].value is None
    assert (folder / "overview.png").exists()
    assert "test" in scored_parts(store, store)
