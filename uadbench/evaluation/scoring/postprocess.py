"""The post-processing ladder: the gain of each step over raw maps, with parameters chosen without the test set.

Steps in order: the rim of the body is excluded, the map is blurred or median-filtered, and small
components above the threshold are dropped. Each step changes maps, so every protocol can score the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uadbench.core.errors import UserError
from uadbench.evaluation.cases import CaseMaps, Cases, checked, held
from uadbench.evaluation.metrics.curves import PixelHistogram, average_precision
from uadbench.evaluation.metrics.pixels import Overlap
from uadbench.evaluation.protocol.protocol import Protocol
from uadbench.evaluation.protocol.thresholds import healthy_fpr_thresholds
from uadbench.evaluation.scoring.components import without_small
from uadbench.evaluation.scoring.gaps import mean_with_interval
from uadbench.evaluation.statistics.intervals import patient_means

VERSION = "1"


@dataclass(frozen=True)
class Steps:
    """Parameters of the ladder; zeros keep the raw map.

    Attributes:
        erosion: Pixels of the body's rim that are never predicted.
        blur: Sigma of a Gaussian blur in the slice, pixels.
        median: Radius of a median filter in the slice, pixels.
        smallest: Components above the threshold with fewer pixels are dropped.
    """

    erosion: int = 0
    blur: float = 0.0
    median: int = 0
    smallest: int = 0


GRID: tuple[tuple[str, tuple[Steps, ...]], ...] = (
    ("erosion", tuple(Steps(erosion=k) for k in (0, 1, 2, 4))),
    ("smoothing", (Steps(), *(Steps(blur=s) for s in (1.0, 2.0)), Steps(median=1))),
    ("components", tuple(Steps(smallest=m) for m in (0, 5, 10, 30))),
)


class Processed:
    """Cases with processed maps.

    Args:
        cases: Cases with raw maps.
        steps: Parameters.
        threshold: Threshold above which components are measured; required if ``steps.smallest`` > 0.

    Raises:
        UserError: If a threshold is needed and missing.
    """

    def __init__(self, cases: Cases, steps: Steps, threshold: float | None = None) -> None:
        if steps.smallest and threshold is None:
            raise UserError("Dropping small components needs a threshold.", "Take it from calib.")
        self._cases = cases
        self._steps = steps
        self._threshold = threshold

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, index: int) -> CaseMaps:
        case = self._cases[index]
        maps = smoothed(case, self._steps)
        if self._steps.smallest and self._threshold is not None:
            maps = without_small(maps, case.body, self._threshold, self._steps.smallest)
        return replace(case, maps=maps)


def smoothed(case: CaseMaps, steps: Steps) -> NDArray[np.float32]:
    """Returns the map of a case after smoothing inside the body and erosion of its rim, float32 (n, h, w).

    Smoothing is first so that pixels in the rim contribute to their neighbourhood; pixels outside the body
    have weight 0 in the blur and the body's minimum in the median.
    """
    maps, body = case.maps, case.body
    least = maps[body].min()
    if steps.blur:
        sigma = (0.0, steps.blur, steps.blur)
        weight = ndimage.gaussian_filter(body.astype(np.float32), sigma)
        total = ndimage.gaussian_filter(np.where(body, maps, 0).astype(np.float32), sigma)
        maps = np.where(body, total / np.maximum(weight, 1e-6), maps).astype(np.float32)
    if steps.median:
        width = 2 * steps.median + 1
        filtered = ndimage.median_filter(np.where(body, maps, least), size=(1, width, width))
        maps = np.where(body, filtered, maps).astype(np.float32)
    if steps.erosion:
        plane = ndimage.generate_binary_structure(3, 1)
        plane[0] = plane[2] = False
        core = ndimage.binary_erosion(body, plane, iterations=steps.erosion)
        maps = np.where(core, maps, np.minimum(least, maps.min())).astype(np.float32)
    return maps


@dataclass(frozen=True)
class Rung:
    """A step of the ladder.

    Attributes:
        name: "raw", "erosion", "smoothing" or "components".
        steps: All parameters up to here.
        threshold: Healthy-FPR threshold of the maps processed so far.
        dice: Patient-mean Dice on the tuning cases.
    """

    name: str
    steps: Steps
    threshold: float
    dice: float


def choose_ladder(calib: Cases, tuning: Cases, *, rate: float = 0.01) -> list[Rung]:
    """Chooses the parameters step by step on tuning cases, with the threshold recomputed from calib each time.

    Args:
        calib: Healthy cases of the threshold.
        tuning: Cases with masks: synthetic lesions on calib, or val; never test.
        rate: Rate of the healthy-FPR threshold.

    Returns:
        The raw maps and each step with its best parameter; a parameter that does not help remains 0.
    """
    calib, tuning = held(calib), held(tuning)
    threshold = healthy_fpr_thresholds(calib, [rate])[0]
    rungs = [Rung("raw", Steps(), threshold, _mean_dice(tuning, threshold))]
    for name, options in GRID[:-1]:
        best = replace(rungs[-1], name=name)
        for option in options[1:]:
            steps = _joined(rungs[-1].steps, option)
            threshold = healthy_fpr_thresholds(held(Processed(calib, steps)), [rate])[0]
            dice = _mean_dice(Processed(tuning, steps), threshold)
            if dice > best.dice:
                best = Rung(name, steps, threshold, dice)
        rungs.append(best)
    # Components are measured above the current threshold, which therefore remains.
    name, options = GRID[-1]
    best = replace(rungs[-1], name=name)
    smooth = held(Processed(tuning, best.steps))
    for option in options[1:]:
        dice = _mean_dice(Processed(smooth, option, best.threshold), best.threshold)
        if dice > best.dice:
            best = replace(best, steps=_joined(best.steps, option), dice=dice)
    return [*rungs, best]


def _joined(base: Steps, option: Steps) -> Steps:
    return Steps(
        option.erosion or base.erosion,
        option.blur or base.blur,
        option.median or base.median,
        option.smallest or base.smallest,
    )


def _mean_dice(cases: Cases, threshold: float) -> float:
    dice: list[float] = []
    patients: list[str] = []
    for case in checked(cases, truth=True):
        scored = case.scored
        dice.append(Overlap.of(case.maps[scored] > threshold, case.lesion[scored]).dice)
        patients.append(case.patient)
    _, means, _ = patient_means(dice, patients)
    if not len(means):
        raise UserError("The tuning cases contain no lesion.", "Give cases with masks.")
    return float(means.mean())


def processed_pair(calib: Cases, test: Cases, rung: Rung) -> tuple[Cases, Cases]:
    """Returns calib and test processed up to a rung of the ladder, for ``score``."""
    return Processed(calib, rung.steps, rung.threshold), Processed(test, rung.steps, rung.threshold)


def ladder_on_test(rungs: Sequence[Rung], test: Cases, protocol: Protocol, seed: int) -> list[dict[str, Any]]:
    """Returns the ladder as rows: parameters, Dice on the tuning cases and on test, and the gain of each step.

    Args:
        rungs: The result of ``choose_ladder``, chosen without the test cases.
        test: Test cases with masks; they are scored at each rung but not used for choices.
        protocol: Rules of the bootstrap.
        seed: Seed of the bootstrap.

    Returns:
        JSON values. ``test_dice_gain`` and ``test_ap_gain`` are paired differences from the previous rung, with
        intervals over patients.
    """
    rows: list[dict[str, Any]] = []
    before: _Numbers | None = None
    for i, rung in enumerate(rungs):
        same = before is not None and rung.steps == rungs[i - 1].steps
        now = before if before is not None and same else _numbers(Processed(test, rung.steps, rung.threshold), rung)
        row: dict[str, Any] = {"step": rung.name, **vars(rung.steps), "threshold": rung.threshold}
        row["tuning_dice"] = rung.dice
        row["tuning_dice_gain"] = rung.dice - rungs[i - 1].dice if i else 0.0
        for name in ("dice", "ap"):
            row[f"test_{name}"] = mean_with_interval(getattr(now, name), now.patients, protocol, seed)
            if before is not None:
                gain = np.subtract(getattr(now, name), getattr(before, name)).tolist()
                row[f"test_{name}_gain"] = mean_with_interval(gain, now.patients, protocol, seed)
        rows.append(row)
        before = now
    return rows


@dataclass(frozen=True)
class _Numbers:
    """Dice and AP of the lesion cases."""

    patients: list[str]
    dice: list[float]
    ap: list[float]


def _numbers(cases: Cases, rung: Rung) -> _Numbers:
    numbers = _Numbers([], [], [])
    for case in checked(cases, truth=True):
        values, truth = case.maps[case.scored], case.lesion[case.scored]
        ap = average_precision(PixelHistogram.of(values, truth)) if truth.any() else None
        if ap is not None:
            numbers.patients.append(case.patient)
            numbers.dice.append(Overlap.of(values > rung.threshold, truth).dice)
            numbers.ap.append(ap.value)
    return numbers
