"""Evaluates a setting on lesions that are not test lesions: case AP, Dice, and false positives on healthy images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.core.types import ImageSpec
from uadbench.data.storage.batches import StoreBatches
from uadbench.data.storage.store import Item, Pixels
from uadbench.evaluation.cases import CaseMaps, checked
from uadbench.evaluation.metrics.curves import PixelHistogram, average_precision
from uadbench.evaluation.metrics.pixels import Overlap
from uadbench.evaluation.protocol import headline
from uadbench.evaluation.protocol.thresholds import best_dice_threshold, healthy_fpr_thresholds
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor
from uadbench.runner.execution.predictions import predict_batches
from uadbench.runner.storage.stored_cases import by_case, to_native


@dataclass(frozen=True)
class Judgement:
    """Results of a setting.

    Attributes:
        ap: Mean case AP of each patient.
        dice: Mean Dice of each patient at the threshold of 1 % healthy false positives.
        healthy_fp: Share of healthy body pixels, mean over patients, above the threshold of best Dice on the lesions.
    """

    ap: dict[str, float]
    dice: dict[str, float]
    healthy_fp: float

    def mean(self, measure: str) -> float:
        """Returns the patient mean of ``ap`` or ``dice``."""
        values = self.ap if measure == "ap" else self.dice
        return float(np.mean(list(values.values())))


@dataclass(frozen=True)
class _Truth:
    """Bodies and masks of a case, (n, h, w), and the indices of its images."""

    item: Item
    rows: list[int]
    body: NDArray[np.bool_]
    mask: NDArray[np.uint8]


class Images:
    """Images of a role with lesion masks, read once and held in memory.

    Args:
        pixels: Source of the items.
        items: The items.
        spec: Shape that the method is built for.
    """

    def __init__(self, pixels: Pixels, items: Sequence[Item], spec: ImageSpec) -> None:
        if not items:
            raise DataError("There is no image to tune on.", "The dataset needs calib patients, or val for that.")
        self.batches = StoreBatches(pixels, items, spec)
        self._truth = [
            _Truth(
                item=group[0][1],
                rows=[row for row, _ in group],
                body=np.stack([pixels.body(item) for _, item in group]),
                mask=np.stack([pixels.mask(item) for _, item in group]),
            )
            for group in by_case(items)
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def predict(self, predict: FixedBatchPredictor) -> list[CaseMaps]:
        """Returns the cases with the method's maps on the native grid.

        Raises:
            OutOfMemory: If even a halved batch does not fit into the memory.
        """
        maps, scores = predict_batches(predict, self.batches)
        return [
            CaseMaps(
                case=truth.item.case,
                patient=truth.item.patient,
                kind=truth.item.kind,
                cohort=truth.item.cohort,
                maps=to_native(maps[truth.rows], (truth.body.shape[1], truth.body.shape[2])),
                body=truth.body,
                mask=truth.mask,
                spacing=None,
                own_score=float(scores[truth.rows].max()),
            )
            for truth in self._truth
        ]


def judge(lesions: Sequence[CaseMaps], healthy: Sequence[CaseMaps]) -> Judgement:
    """Evaluates maps.

    Args:
        lesions: Cases with masks; those without a lesion are skipped for AP and Dice.
        healthy: Healthy cases, for thresholds and false positives.

    Raises:
        DataError: If no case has a lesion inside its body.
    """
    threshold = healthy_fpr_thresholds(healthy, [headline.RATE])[0]
    ap: dict[str, list[float]] = defaultdict(list)
    dice: dict[str, list[float]] = defaultdict(list)
    for case in checked(lesions, truth=True):
        values, truth = case.maps[case.scored], case.lesion[case.scored]
        bounds = average_precision(PixelHistogram.of(values, truth))
        if bounds is not None:
            ap[case.patient].append(bounds.value)
            dice[case.patient].append(Overlap.of(values > threshold, truth).dice)
    best = best_dice_threshold(lesions)
    if best is None:
        raise DataError("No tuning image has a lesion inside its body.", "Use --objective synthetic.")
    return Judgement(_means(ap), _means(dice), false_positives(healthy, best))


def false_positives(healthy: Sequence[CaseMaps], threshold: float) -> float:
    """Returns the share of body pixels above a threshold, mean over patients."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for case in checked(healthy, truth=False):
        values = case.maps[case.scored]
        counts[case.patient][0] += int(np.count_nonzero(values > threshold))
        counts[case.patient][1] += values.size
    return float(np.mean([above / total for above, total in counts.values()]))


def thin(items: Sequence[Item], limit: int) -> list[Item]:
    """Returns at most ``limit`` items, at least one per patient, spread evenly over each patient's images."""
    by_patient: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_patient[item.patient].append(item)
    quota = max(1, limit // max(1, len(by_patient)))
    kept: set[str] = set()
    for group in by_patient.values():
        places = np.linspace(0, len(group) - 1, min(quota, len(group))).round().astype(int)
        kept |= {group[place].uid for place in places}
    return [item for item in items if item.uid in kept]


def _means(values: dict[str, list[float]]) -> dict[str, float]:
    return {patient: float(np.mean(values[patient])) for patient in sorted(values)}
