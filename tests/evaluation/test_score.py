"""The scorer as a whole: keys, conventions, laws and bad input."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from tests.support.cases import SIDE, make_cases
from uadbench.core.errors import DataError, UnknownName
from uadbench.evaluation.cases import CaseMaps
from uadbench.evaluation.protocol.protocol import Protocol, load_protocol
from uadbench.evaluation.scoring.score import Evaluation, score

STRICT = load_protocol("strict-v1")


@pytest.fixture(scope="module")
def calib() -> list[CaseMaps]:
    cases = make_cases(8, lesion_every=0, seed=1)
    return [replace(case, mask=None, maps=np.where(case.mask == 255, 0, case.maps)) for case in cases]


@pytest.fixture(scope="module")
def result(calib: list[CaseMaps]) -> Evaluation:
    return score(STRICT, calib, make_cases(24))


def patient_mean(table: pd.DataFrame, column: str) -> float:
    return float(table.groupby("patient")[column].mean().mean())


def test_every_contract_key_is_there(result: Evaluation) -> None:
    expected = {
        "case_ap",
        "dice@healthy-fpr@0.01",
        "dice@healthy-fpr@0.001",
        "dice@healthy-fpr@0.05",
        "dice@oracle",
        "pixel_auroc",
        "pixel_auroc_pooled",
        "pixel_ap_pooled",
        "image_auroc",
        "image_ap",
        "image_auroc_own",
        "healthy_fp_fraction",
        "hd95_mm@healthy-fpr@0.01",
        "nsd@healthy-fpr@0.01",
        "lesion_f1@healthy-fpr@0.01",
        "ssim_outside",
        "ssim_healthy",
        "l1_outside",
        "l1_healthy",
        "aupro",
        "assd_mm@healthy-fpr@0.01",
        "lesion_sensitivity@healthy-fpr@0.01",
        "healthy_fp_area_mm2@healthy-fpr@0.01",
        "dice_pooled@healthy-fpr@0.01",
        "healthy_cohort_auroc",
        "image_false_alarm_error",
        *(f"{name}@{rule}" for name in ("iou", "precision", "recall") for rule in ("healthy-fpr@0.01", "oracle")),
        *(f"healthy_fp_fraction@{rule}" for rule in ("healthy-fpr@0.001", "healthy-fpr@0.05", "oracle")),
    }
    assert expected <= set(result.metrics)
    for key in expected:
        metric = result.metrics[key]
        assert metric.value is not None, key
        assert metric.low is not None, key
        assert metric.high is not None, key
        assert metric.low <= metric.value <= metric.high, key
    assert result.metrics["case_ap"].n_patients == 12
    assert result.metrics["healthy_fp_fraction"].n_patients == 12
    assert result.metrics["image_auroc"].n_patients == 24
    assert not result.metrics["hd95_mm@healthy-fpr@0.01"].higher_is_better
    assert result.metrics["hd95_mm@healthy-fpr@0.01"].unit == "mm"
    assert result.metrics["dice@oracle"].rule == "oracle"
    assert result.threshold_labels["oracle"] == "test masks"
    assert result.threshold_labels["healthy-fpr@0.01"] == "none"


def test_metrics_equal_scikit_learn_case_by_case(result: Evaluation) -> None:
    cases = make_cases(24)
    rows: list[dict[str, float | str]] = []
    scores: list[float] = []
    for case in cases:
        inside = case.body & (case.mask != 255)
        values, truth = case.maps[inside], (case.mask == 1)[inside]
        best = np.sort(values)[::-1][: int(np.ceil(0.01 * values.size))]
        scores.append(float(best.astype(np.float64).mean()))
        if truth.any():
            predicted = values > np.float32(result.thresholds["healthy-fpr@0.01"])
            rows.append(
                {
                    "patient": case.patient,
                    "ap": average_precision_score(truth, values),
                    "auroc": roc_auc_score(truth, values),
                    "dice": 2 * float((truth & predicted).sum()) / float(truth.sum() + predicted.sum()),
                    "ceiling": 2 * truth.sum() / (2 * truth.sum() + 0.01 * (~truth).sum()),
                }
            )
    table = pd.DataFrame(rows)
    lesion = [bool((case.mask == 1).any()) for case in cases]
    metrics = result.metrics
    assert metrics["case_ap"].value == pytest.approx(patient_mean(table, "ap"))
    assert metrics["pixel_auroc"].value == pytest.approx(patient_mean(table, "auroc"))
    assert metrics["dice@healthy-fpr@0.01"].value == pytest.approx(patient_mean(table, "dice"))
    assert metrics["dice@healthy-fpr@0.01"].ceiling == pytest.approx(patient_mean(table, "ceiling"))
    assert metrics["image_auroc"].value == pytest.approx(roc_auc_score(lesion, scores))
    assert metrics["image_ap"].value == pytest.approx(average_precision_score(lesion, scores))
    threshold = np.float32(result.thresholds["healthy-fpr@0.01"])
    predicted = [case.scored & (case.maps > threshold) for case in cases]
    hits = sum(int((p & case.lesion).sum()) for p, case in zip(predicted, cases, strict=True))
    sizes = sum(int(p.sum() + case.lesion.sum()) for p, case in zip(predicted, cases, strict=True))
    assert metrics["dice_pooled@healthy-fpr@0.01"].value == pytest.approx(2 * hits / sizes)
    areas = [0.25 * p.sum() for p, case in zip(predicted, cases, strict=True) if not case.lesion.any()]
    area = metrics["healthy_fp_area_mm2@healthy-fpr@0.01"]
    assert (area.value, area.unit) == (pytest.approx(np.mean(areas)), "mm2")
    everything = np.concatenate([case.maps[case.scored] for case in cases])
    truth = np.concatenate([case.lesion[case.scored] for case in cases])
    assert metrics["pixel_auroc_pooled"].value == pytest.approx(roc_auc_score(truth, everything), abs=1e-4)
    assert metrics["pixel_ap_pooled"].value == pytest.approx(average_precision_score(truth, everything), abs=2e-3)
    low, high = result.curves["bounds"]["pixel_ap_pooled"]
    assert low <= average_precision_score(truth, everything) <= high


def test_ignored_and_outside_pixels_change_nothing(calib: list[CaseMaps], result: Evaluation) -> None:
    changed: list[CaseMaps] = []
    for case in make_cases(24):
        maps = case.maps.copy()
        maps[~case.body | (case.mask == 255)] = -1000
        changed.append(replace(case, maps=maps))
    assert score(STRICT, calib, changed).metrics == result.metrics


def test_rankings_survive_a_monotone_transform(calib: list[CaseMaps], result: Evaluation) -> None:
    def stretched(case: CaseMaps) -> CaseMaps:
        return replace(case, maps=8 * case.maps)  # a power of two keeps float32 ties and bins as they are

    other = score(STRICT, [stretched(c) for c in calib], [stretched(c) for c in make_cases(24)])
    for key, metric in result.metrics.items():
        assert (other.metrics[key].value or 0.0) == pytest.approx(metric.value or 0.0, rel=1e-6), key


def test_the_order_of_cases_changes_nothing(calib: list[CaseMaps], result: Evaluation) -> None:
    other = score(STRICT, calib[::-1], make_cases(24)[::-1])
    assert other.thresholds == pytest.approx(result.thresholds)
    for key, metric in result.metrics.items():
        assert other.metrics[key].value == pytest.approx(metric.value), key
        assert (other.metrics[key].low or 0.0) == pytest.approx(metric.low or 0.0, rel=1e-6), key


def test_test_labels_never_move_an_unsupervised_threshold(calib: list[CaseMaps], result: Evaluation) -> None:
    rng = np.random.default_rng(9)
    shuffled = [replace(c, mask=rng.permutation(c.mask, axis=1)) for c in make_cases(24) if c.mask is not None]
    other = score(STRICT, calib, shuffled)
    for key, value in result.thresholds.items():
        if key != "oracle":
            assert other.thresholds[key] == value


def test_oracle_is_never_below_another_rule_and_dice_never_above_its_ceiling(result: Evaluation) -> None:
    oracle = result.metrics["dice@oracle"].value
    assert oracle is not None
    for key, metric in result.metrics.items():
        if key.startswith("dice@") and metric.value is not None:
            assert metric.value <= oracle + 1e-3, key


def test_numbers_do_not_depend_on_the_seed_but_intervals_do(calib: list[CaseMaps], result: Evaluation) -> None:
    again, other = score(STRICT, calib, make_cases(24)), score(STRICT, calib, make_cases(24), seed=5)
    assert again.metrics == result.metrics
    pd.testing.assert_frame_equal(again.cases, result.cases)
    assert other.metrics["case_ap"].value == result.metrics["case_ap"].value
    assert other.metrics["case_ap"].low != result.metrics["case_ap"].low


def test_few_patients_have_no_interval(calib: list[CaseMaps]) -> None:
    metric = score(STRICT, calib, make_cases(18)).metrics["case_ap"]
    assert (metric.n_patients, metric.low, metric.high) == (9, None, None)
    assert metric.value is not None


def test_without_healthy_cases_image_metrics_are_undefined(calib: list[CaseMaps]) -> None:
    metrics = score(STRICT, calib, make_cases(12, lesion_every=1)).metrics
    assert metrics["image_auroc"].value is None
    assert metrics["image_ap"].value is None
    assert metrics["healthy_fp_fraction"].value is None
    assert metrics["case_ap"].value is not None


def test_without_lesions_only_false_positives_remain(calib: list[CaseMaps]) -> None:
    result = score(STRICT, calib, make_cases(12, lesion_every=0))
    assert result.metrics["case_ap"].value is None
    assert result.metrics["dice@oracle"].value is None
    assert result.metrics["pixel_ap_pooled"].value is None
    assert "oracle" not in result.thresholds
    assert result.metrics["healthy_fp_fraction"].value == pytest.approx(0.01, abs=0.005)
    json.dumps(result.curves, allow_nan=False)


def test_a_test_only_set_has_no_honest_threshold() -> None:
    result = score(STRICT, [], make_cases(12))
    assert set(result.thresholds) == {"oracle"}
    assert result.metrics["dice@healthy-fpr@0.01"].value is None
    assert result.metrics["case_ap"].value is not None


def test_val_and_synthetic_thresholds_come_from_their_own_masks(calib: list[CaseMaps]) -> None:
    test, val = make_cases(12), make_cases(6, seed=3)
    result = score(STRICT, calib, test, val=val, synthetic=make_cases(6, seed=4))
    oracle_of_val = score(STRICT, calib, val).thresholds["oracle"]
    assert result.thresholds["val"] == oracle_of_val
    assert result.threshold_labels["val"] == "val masks"
    assert result.threshold_labels["synthetic"] == "synthetic masks"
    assert result.metrics["dice@val"].value is not None


def test_an_empty_prediction_scores_worst(calib: list[CaseMaps]) -> None:
    flat = [replace(c, maps=np.zeros_like(c.maps), own_score=0.0) for c in make_cases(12)]
    result = score(STRICT, [replace(c, maps=np.zeros_like(c.maps)) for c in calib], flat)
    metrics = result.metrics
    assert metrics["dice@healthy-fpr@0.01"].value == 0
    assert metrics["precision@healthy-fpr@0.01"].value == 0
    assert metrics["hd95_mm@healthy-fpr@0.01"].value == pytest.approx(np.hypot(23 * 0.5, 23 * 0.5))
    assert metrics["pixel_auroc"].value == 0.5
    assert metrics["image_auroc"].value == 0.5
    prevalence = [c.lesion.sum() / c.scored.sum() for c in flat if c.lesion.any()]
    assert metrics["case_ap"].value == pytest.approx(np.mean(prevalence))


def test_volumes_are_one_case(calib: list[CaseMaps]) -> None:
    result = score(STRICT, calib, make_cases(4, frames=1, depth=3))
    assert len(result.cases) == 4
    assert result.cases["pixels"].max() > 3 * 300
    volume = result.metrics["healthy_fp_volume_mm3@healthy-fpr@0.01"]
    assert volume.unit == "mm3"
    assert "healthy_fp_area_mm2@healthy-fpr@0.01" not in result.metrics


def test_the_calibration_error_needs_synthetic_lesions_and_tells_shifted_scores_apart(calib: list[CaseMaps]) -> None:
    synthetic, test = make_cases(12, seed=4, lesion_every=1), make_cases(24)
    assert score(STRICT, calib, test).metrics["image_ece"].value is None
    metric = score(STRICT, calib, test, synthetic=synthetic).metrics["image_ece"]
    assert (metric.rule, metric.n_patients, metric.higher_is_better) == ("synthetic", 24, False)
    assert metric.value is not None
    assert metric.value < 0.2
    shifted = [replace(case, maps=case.maps + 20) for case in test]
    worse = score(STRICT, calib, shifted, synthetic=synthetic).metrics["image_ece"].value
    assert worse == pytest.approx(0.5, abs=0.1), "every case looks sick, and half are"


def test_detection_by_size_states_what_it_depends_on(result: Evaluation) -> None:
    table = result.curves["lesions_by_size"]
    assert (table["rule"], table["connectivity"]) == ("healthy-fpr@0.01", "full")
    assert sum(row["lesions"] for row in table["bins"]) == result.cases["lesions"].sum()


def test_the_paper_protocol_is_flagged_and_pools_slices(calib: list[CaseMaps]) -> None:
    paper = load_protocol("paper-v1")
    assert paper.flagged
    assert not STRICT.flagged
    result = score(paper, calib, make_cases(4, frames=1, depth=3))
    assert len(result.cases) == 12
    assert result.metrics["case_ap"].rule == "oracle"
    lesion = result.cases[result.cases["lesion"]]
    assert result.metrics["dice@oracle"].value == pytest.approx(lesion["dice@oracle"].mean())


def test_one_choice_at_a_time_explains_the_protocol_gap(calib: list[CaseMaps]) -> None:
    thresholded = Protocol.model_validate({**STRICT.model_dump(), "ap_scores": "thresholded"})
    assert thresholded.hash != STRICT.hash
    strict, late = (score(p, calib, make_cases(12)).metrics["case_ap"].value for p in (STRICT, thresholded))
    assert strict is not None
    assert late is not None
    assert late < strict


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": np.full((1, SIDE, SIDE), np.nan, np.float32)}, "NaN"),
        ({"maps": np.zeros((1, SIDE, SIDE + 1), np.float32)}, "do not fit"),
        ({"mask": None}, "no mask"),
        ({"body": np.zeros((1, SIDE, SIDE), bool)}, "outside the body"),
        ({"own_score": float("inf")}, "image score"),
    ],
)
def test_bad_cases_are_named(calib: list[CaseMaps], change: dict[str, object], message: str) -> None:
    cases = make_cases(4)
    cases[3] = replace(cases[3], **change)
    with pytest.raises(DataError, match=message) as error:
        score(STRICT, calib, cases)
    assert cases[3].case in str(error.value)


def test_empty_test_sets_and_doubled_cases_are_refused(calib: list[CaseMaps]) -> None:
    with pytest.raises(DataError, match="no test cases"):
        score(STRICT, calib, [])
    case = make_cases(1)[0]
    with pytest.raises(DataError, match="same name"):
        score(STRICT, calib, [case, case])


def test_protocols_are_found_by_name_and_hashed() -> None:
    with pytest.raises(UnknownName, match="strict-v1"):
        load_protocol("strict")
    assert load_protocol("strict-v1").hash == STRICT.hash
    assert STRICT.model_copy(update={"version": "2"}).hash != STRICT.hash
    with pytest.raises(ValueError, match="headline"):
        Protocol.model_validate({**STRICT.model_dump(), "rules": ("oracle",)})
