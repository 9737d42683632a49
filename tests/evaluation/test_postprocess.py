"""The post-processing ladder."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from uadbench.core.errors import UserError
from uadbench.evaluation.cases import CaseMaps
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.evaluation.scoring.components import without_small
from uadbench.evaluation.scoring.postprocess import (
    Processed,
    Steps,
    choose_ladder,
    ladder_on_test,
    processed_pair,
    smoothed,
)
from uadbench.evaluation.scoring.score import score

ROWS, COLUMNS = np.mgrid[:32, :32]
BODY = ((ROWS - 16) ** 2 + (COLUMNS - 16) ** 2 < 14**2)[None]


def make(i: int, *, lesion: bool, prefix: str) -> CaseMaps:
    """A smooth lesion under white noise, with a bright rim: each step of the ladder has something to remove."""
    rng = np.random.default_rng([i, len(prefix), lesion])
    truth = np.zeros((1, 32, 32), np.uint8)
    if lesion:
        r, c = rng.integers(10, 17, 2)
        truth[0, r : r + 5, c : c + 5] = 1
    rim = (ROWS - 16) ** 2 + (COLUMNS - 16) ** 2 > 12.5**2
    maps = (rng.normal(size=truth.shape) + 2.5 * (truth == 1) + 3 * rim).astype(np.float32)
    return CaseMaps(f"{prefix}{i}", f"{prefix}{i}", "", "c", maps, BODY, truth if lesion else None, None, 0.0)


CALIB = [make(i, lesion=False, prefix="calib") for i in range(10)]
VAL = [make(i, lesion=True, prefix="v") for i in range(6)]
TEST = [make(i, lesion=True, prefix="te") for i in range(10)]


def test_zeros_leave_the_raw_map() -> None:
    assert np.array_equal(smoothed(VAL[0], Steps()), VAL[0].maps)
    assert len(Processed(VAL, Steps())) == 6


def test_blur_inside_the_body_equals_a_normalised_convolution_and_keeps_constants() -> None:
    flat = CaseMaps("a", "a", "", "c", np.full((1, 32, 32), 0.7, np.float32), BODY, None, None, 0.0)
    assert smoothed(flat, Steps(blur=2.0))[BODY] == pytest.approx(0.7)
    inside = smoothed(VAL[0], Steps(blur=1.0))[0, 16, 16]
    assert inside == pytest.approx(gaussian_filter(VAL[0].maps[0], 1.0)[16, 16], abs=1e-4)


def test_what_lies_outside_the_body_never_matters() -> None:
    case = VAL[0]
    loud = CaseMaps("a", "a", "", "c", np.where(BODY, case.maps, 1e3).astype(np.float32), BODY, case.mask, None, 0.0)
    for steps in (Steps(blur=2.0), Steps(median=2), Steps(erosion=2)):
        assert smoothed(loud, steps)[BODY] == pytest.approx(smoothed(case, steps)[BODY])


def test_erosion_silences_the_rim_alone() -> None:
    maps = smoothed(VAL[0], Steps(erosion=2))
    changed = maps != VAL[0].maps
    assert not changed[0, 8:24, 8:24].any()
    assert maps[0, 16, 2:4].max() == VAL[0].maps.min()


def test_small_components_fall_to_the_threshold() -> None:
    maps = np.zeros((1, 8, 8), np.float32)
    maps[0, 1, 1] = maps[0, 4:7, 4:7] = 2.0
    kept = without_small(maps, np.ones(maps.shape, bool), 1.0, 5)
    assert kept[0, 1, 1] == 1.0
    assert (kept > 1).sum() == 9


def test_the_ladder_never_gets_worse_and_helps_on_unseen_cases() -> None:
    rungs = choose_ladder(CALIB, VAL)
    assert [rung.name for rung in rungs] == ["raw", "erosion", "smoothing", "components"]
    dice = [rung.dice for rung in rungs]
    assert dice == sorted(dice)
    assert rungs[1].steps.erosion > 0
    assert rungs[2].dice > rungs[1].dice
    protocol = load_protocol("strict-v1")
    rows = ladder_on_test(rungs, TEST, protocol, 0)
    assert sum(row["tuning_dice_gain"] for row in rows) == pytest.approx(dice[-1] - dice[0])
    assert [row["step"] for row in rows] == ["raw", "erosion", "smoothing", "components"]
    assert rows[2]["test_dice_gain"]["low"] > 0
    for before, row in pairwise(rows):
        for name in ("dice", "ap"):
            gain = row[f"test_{name}"]["value"] - before[f"test_{name}"]["value"]
            assert row[f"test_{name}_gain"]["value"] == pytest.approx(gain)
    key = "dice@healthy-fpr@0.01"
    raw = score(protocol, CALIB, TEST).metrics[key].value
    done = score(protocol, *processed_pair(CALIB, TEST, rungs[2])).metrics[key].value
    assert raw == pytest.approx(rows[0]["test_dice"]["value"])
    assert done == pytest.approx(rows[2]["test_dice"]["value"])


def test_test_masks_move_no_parameter_of_the_ladder() -> None:
    rungs = choose_ladder(CALIB, VAL)
    protocol = load_protocol("strict-v1")
    shuffled = [replace(case, mask=np.roll(case.mask, 7, axis=1)) for case in TEST if case.mask is not None]
    chosen = {"step", "erosion", "blur", "median", "smallest", "threshold", "tuning_dice", "tuning_dice_gain"}
    ours, theirs = (ladder_on_test(rungs, cases, protocol, 0) for cases in (TEST, shuffled))
    assert [{key: row[key] for key in chosen} for row in ours] == [{key: row[key] for key in chosen} for row in theirs]
    assert ours[0]["test_dice"] != theirs[0]["test_dice"]


def test_components_need_a_threshold_and_tuning_needs_lesions() -> None:
    with pytest.raises(UserError, match="threshold"):
        Processed(VAL, Steps(smallest=5))
    healthy = [make(i, lesion=True, prefix="h") for i in range(2)]
    empty = [CaseMaps(c.case, c.patient, "", "c", c.maps, c.body, np.zeros_like(c.mask), None, 0.0) for c in healthy]
    with pytest.raises(UserError, match="no lesion"):
        choose_ladder(CALIB, empty)
