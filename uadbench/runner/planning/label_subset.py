"""The label-count curve: a fraction of the labelled patients."""

from __future__ import annotations

import math
from collections.abc import Sequence

from uadbench.core.seeding import numpy_generator
from uadbench.data.storage.store import Item


def subsample_patients(items: Sequence[Item], fraction: float, seed: int) -> list[Item]:
    """Returns the items of a fraction of the patients, at least one; smaller fractions are nested in larger ones."""
    patients = sorted({item.patient for item in items})
    order = numpy_generator("labelled", seed).permutation(len(patients))
    keep = {patients[i] for i in order[: math.ceil(fraction * len(patients))]}
    return [item for item in items if item.patient in keep]
