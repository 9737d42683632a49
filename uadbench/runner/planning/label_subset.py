"""The label-count curve: a fraction of the labelled patients."""

from __future__ import annotations

import math
from collections.abc import Sequence

from uadbench.core.config import MethodConfig
from uadbench.core.roles import Supervision
from uadbench.core.seeding import numpy_generator
from uadbench.data.storage.store import Item


def subsample_patients(items: Sequence[Item], fraction: float, seed: int) -> list[Item]:
    """Returns the items of a fraction of the patients, at least one; smaller fractions are nested in larger ones."""
    patients = sorted({item.patient for item in items})
    order = numpy_generator("labelled", seed).permutation(len(patients))
    keep = {patients[i] for i in order[: math.ceil(fraction * len(patients))]}
    return [item for item in items if item.patient in keep]


def labelled_subset(
    items: Sequence[Item], supervision: Supervision | str, config: MethodConfig, seed: int
) -> list[Item] | None:
    """Returns the labelled items whose masks a method gets, None unless it learns from masks."""
    if supervision != Supervision.MASKS:
        return None
    return subsample_patients(items, float(getattr(config, "label_fraction", 1.0)), seed)
