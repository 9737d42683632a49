"""Results beyond the map of a prediction: lesions at a calibrated threshold, their size, and the score's percentile."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError, UnknownName
from uadbench.core.reading import read_json
from uadbench.data.preprocessing.intake import Intake
from uadbench.evaluation.protocol import headline

ABNORMAL = 95.0
"""Percentile among healthy calibration cases above which an image is classified as abnormal."""


@dataclass(frozen=True)
class Calibration:
    """A run's statistics of healthy calibration cases.

    Attributes:
        threshold: Pixels above are lesion; None if the run has no such threshold.
        rule: Its threshold rule.
        scores: The method's own score of each healthy calibration case, sorted; may be empty.
        intake: How new images are scaled, for stores of a user's images.
    """

    threshold: float | None
    rule: str
    scores: NDArray[np.float32]
    intake: Intake | None

    def percentile(self, score: float) -> float | None:
        """Returns the percentage of healthy calibration cases with a lower score; None without such cases."""
        if not len(self.scores):
            return None
        return float(100 * np.searchsorted(self.scores, score, side="left") / len(self.scores))


def read_calibration(run: Path, rule: str | None) -> Calibration:
    """Reads the stored calibration of a run.

    Args:
        run: Its folder.
        rule: The threshold rule; None for that of the benchmark's headline, where the run has it.

    Raises:
        UnknownName: If the run has no threshold by that rule.
        DataError: If a file is damaged.
    """
    values: dict[str, float] = {}
    about: dict[str, Any] = {}
    for name, into in (("thresholds.json", values), ("new_images.json", about)):
        file = run / name
        try:
            content = read_json(file) if file.exists() else {}
            into.update(content.get("values", {}) if name == "thresholds.json" else content)
        except (OSError, ValueError, AttributeError) as error:
            raise DataError(f"{file} is damaged.", "Run again with --fresh.") from error
    if rule is not None and rule not in values:
        raise UnknownName("threshold rule of this run", rule, values)
    wanted = rule or headline.RULE
    stored = run / "maps" / "calib" / "scores.npy"
    scores = np.load(stored, allow_pickle=False).astype(np.float32) if stored.exists() else np.empty(0, np.float32)
    cases = about.get("calib_cases", [])
    if len(cases) == len(scores):
        best: defaultdict[Any, float] = defaultdict(lambda: -np.inf)
        for case, score in zip(cases, scores.tolist(), strict=True):
            best[case] = max(best[case], score)
        scores = np.array(list(best.values()), np.float32)
    told = about.get("intake")
    try:
        intake = None if told is None else Intake.model_validate(told)
    except ValueError as error:
        raise DataError(f"{run}/new_images.json is damaged.", "Run again with --fresh.") from error
    return Calibration(values.get(wanted), wanted, np.sort(scores), intake)


def lesion_size(mask: NDArray[np.bool_], spacing: tuple[float, ...] | None) -> tuple[float, str]:
    """Returns the size of a lesion and its unit: mm2 for 2-D images, mm3 for volumes, pixels without spacing."""
    count = int(mask.sum())
    if spacing is None:
        return float(count), "pixels"
    return round(count * float(np.prod(spacing)), 3), "mm3" if mask.ndim == 3 else "mm2"
