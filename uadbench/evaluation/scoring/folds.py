"""Metrics of cases scored by several models, one per fold: only per-case metrics."""

from __future__ import annotations

import pandas as pd

from uadbench.core.record import Metric
from uadbench.evaluation.protocol.protocol import Protocol
from uadbench.evaluation.scoring.summary import summarise

BETWEEN_CASES = ("image_", "dice_pooled", "pixel_auroc_pooled", "pixel_ap_pooled", "healthy_cohort")
"""Metrics that compare or pool scores of different cases, which is invalid across models."""


def fold_metrics(protocol: Protocol, table: pd.DataFrame, seed: int) -> dict[str, Metric]:
    """Returns the metrics of the pooled table of all folds: means over patients, nothing that compares cases.

    Every threshold in the table is that of the case's own fold. Intervals are over patients, who share models, so they
    are descriptive.

    Args:
        protocol: The rules.
        table: One row per test case, of all folds.
        seed: Seed of the bootstrap.
    """
    found = summarise(protocol, table, None, None, None, seed)
    return {key: metric for key, metric in found.items() if not key.startswith(BETWEEN_CASES)}
