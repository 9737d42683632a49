"""Oracle gap and protocol gap, against the scorer under both protocols."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.cases import make_cases
from uadbench.evaluation.cases import CaseMaps
from uadbench.evaluation.protocol.protocol import Protocol, load_protocol
from uadbench.evaluation.scoring.gaps import oracle_gap, protocol_gap
from uadbench.evaluation.scoring.score import Evaluation, score

STRICT, PAPER = load_protocol("strict-v1"), load_protocol("paper-v1")
HEADLINE = "dice@healthy-fpr@0.01"


@pytest.fixture(scope="module")
def calib() -> list[CaseMaps]:
    return [replace(case, mask=None) for case in make_cases(8, lesion_every=0, seed=1)]


@pytest.fixture(scope="module")
def test_cases() -> list[CaseMaps]:
    """Volumes of two slices, patients with one or three of them: slices and patients weigh differently."""
    cases = make_cases(12, frames=3, depth=2)
    kept = [case for i, case in enumerate(cases) if i % 3 == 0 or case.patient.endswith(("0", "4"))]
    first = (np.arange(2) == 0)[:, None, None]
    return [
        replace(case, mask=case.mask * first) if i < 4 and case.mask is not None else case
        for i, case in enumerate(kept)
    ]


def scored(protocol: Protocol, calib: list[CaseMaps], cases: list[CaseMaps]) -> Evaluation:
    return score(protocol, calib, cases)


def test_the_ends_of_the_protocol_gap_are_what_the_scorer_says(
    calib: list[CaseMaps], test_cases: list[CaseMaps]
) -> None:
    strict, paper = scored(STRICT, calib, test_cases), scored(PAPER, calib, test_cases)
    gap = protocol_gap(STRICT, PAPER, strict.thresholds["healthy-fpr@0.01"], test_cases)
    assert gap is not None
    assert gap["start"]["dice"] == pytest.approx(strict.metrics[HEADLINE].value)
    assert gap["start"]["ap"] == pytest.approx(strict.metrics["case_ap"].value)
    assert gap["steps"][-1]["dice"] == pytest.approx(paper.metrics["dice@oracle"].value)
    assert gap["steps"][-1]["ap"] == pytest.approx(paper.metrics["case_ap"].value)


def test_each_step_changes_one_choice_and_the_changes_add_up(calib: list[CaseMaps], test_cases: list[CaseMaps]) -> None:
    strict = scored(STRICT, calib, test_cases)
    threshold = strict.thresholds["healthy-fpr@0.01"]
    gap = protocol_gap(STRICT, PAPER, threshold, test_cases)
    assert gap is not None
    assert [step["choice"] for step in gap["steps"]] == [
        "threshold on test",
        "slice pool",
        "AP after thresholding",
        "small components dropped",
    ]
    fields: dict[str, object] = {}
    for field, step in zip(("headline", "average", "ap_scores", "smallest_component"), gap["steps"], strict=True):
        fields[field] = getattr(PAPER, field)
        protocol = Protocol.model_validate({**STRICT.model_dump(), **fields})
        metrics = scored(protocol, calib, test_cases).metrics
        assert step["dice"] == pytest.approx(metrics[f"dice@{protocol.headline}"].value), step["choice"]
        assert step["ap"] == pytest.approx(metrics["case_ap"].value), step["choice"]
        alone = Protocol.model_validate({**STRICT.model_dump(), field: fields[field]})
        metrics = scored(alone, calib, test_cases).metrics
        assert step["alone"]["ap"] == pytest.approx((metrics["case_ap"].value or 0.0) - gap["start"]["ap"])
    for name in ("dice", "ap"):
        assert sum(step["change"][name] for step in gap["steps"]) == pytest.approx(gap["total"][name])
    assert gap["steps"][0]["change"]["dice"] > 0, "a threshold from the test masks is never worse"
    assert gap["steps"][0]["change"]["ap"] == 0
    assert gap["steps"][1]["change"]["ap"] != 0
    assert gap["steps"][2]["change"]["ap"] < 0, "AP after thresholding loses what is below"


def test_a_protocol_has_no_gap_to_itself(test_cases: list[CaseMaps]) -> None:
    gap = protocol_gap(STRICT, STRICT, 1.0, test_cases)
    assert gap is not None
    assert gap["steps"] == []
    assert gap["total"] == {"dice": 0, "ap": 0}


def test_the_oracle_gap_is_the_difference_with_a_paired_interval(
    calib: list[CaseMaps], test_cases: list[CaseMaps]
) -> None:
    strict = scored(STRICT, calib, make_cases(24))
    gap = oracle_gap(strict.cases, "healthy-fpr@0.01", STRICT, 0)
    assert gap is not None
    oracle, honest = strict.metrics["dice@oracle"].value, strict.metrics[HEADLINE].value
    assert oracle is not None
    assert honest is not None
    assert gap["value"] == pytest.approx(oracle - honest)
    assert gap["n_patients"] == 12
    assert gap["low"] <= gap["value"] <= gap["high"]
    few = oracle_gap(scored(STRICT, calib, test_cases).cases, "healthy-fpr@0.01", STRICT, 0)
    assert few is not None
    assert few["low"] is None, "six lesion patients give no interval"


def test_without_lesions_or_an_honest_threshold_there_is_no_gap(calib: list[CaseMaps]) -> None:
    healthy = make_cases(6, lesion_every=0)
    assert protocol_gap(STRICT, PAPER, 1.0, healthy) is None
    assert oracle_gap(scored(STRICT, [], make_cases(6)).cases, "healthy-fpr@0.01", STRICT, 0) is None
