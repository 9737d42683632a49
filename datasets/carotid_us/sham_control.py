"""Tests whether a supervised classifier can distinguish sham insertions from unchanged frames.

Every real frame is compared with a sham version of itself; acquisitions of one patient are left out
together. The same control with plaques shows that the classifier can detect insertions at all.

Usage: python -m uadbench.datasets.carotid_us.sham_control --source DIR
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_gradient_magnitude
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

from uadbench.core.seeding import numpy_generator
from uadbench.datasets.carotid_us.insertion import insert_plaque
from uadbench.datasets.carotid_us.momot import crop, list_frames, patient_groups, read

SECTORS = 12
# Depth below the wall as a share of the lumen's radius: insertions lie in the first rings.
RINGS = (0.0, 0.1, 0.25, 0.45, 0.7, 1.01)
RESAMPLES = 2000


@dataclass(frozen=True)
class Control:
    """AUROC of "inserted" against "unchanged" with its 95 % interval over patient groups."""

    auroc: float
    low: float
    high: float
    frames: int
    groups: int


def control(source: Path, *, sham: bool = True) -> Control:
    """Trains and tests the classifier, leaving one group of acquisitions out at a time.

    Args:
        source: Folder of the Momot layout.
        sham: Compare with shams (the control) or with plaques (the ability of the classifier).

    Raises:
        DataError: Naming the first file that cannot be used.
    """
    rows, labels, groups = [], [], []
    for image, vessel, group, uid in _frames(source):
        inserted, _, _ = insert_plaque(image, vessel, numpy_generator("sham-control", uid), sham=sham)
        for label, picture in enumerate((image, inserted)):
            rows.append(features(picture, vessel))
            labels.append(label)
            groups.append(group)
    truth, group_of = np.array(labels), np.array(groups)
    forest = RandomForestClassifier(n_estimators=300, min_samples_leaf=2, random_state=0)
    found = cross_val_predict(
        forest, np.stack(rows), truth, groups=group_of, cv=LeaveOneGroupOut(), method="predict_proba"
    )
    scores = np.asarray(found)[:, 1]
    names = np.unique(group_of)
    rng = numpy_generator("sham-control", "bootstrap")
    drawn: list[float] = []
    for _ in range(RESAMPLES):
        chosen = np.concatenate([np.flatnonzero(group_of == name) for name in rng.choice(names, len(names))])
        drawn.append(float(roc_auc_score(truth[chosen], scores[chosen])))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Control(float(roc_auc_score(truth, scores)), float(low), float(high), len(truth) // 2, len(names))


def features(image: NDArray[np.uint8], vessel: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean, spread and edge strength in rings and sectors of the lumen, sorted over the sectors of a ring.

    Sorting removes the angle; minimum, maximum and their difference remain.

    Args:
        image: Grey levels 0..255, (h, w).
        vessel: True inside the lumen, (h, w).

    Returns:
        A vector of 3 * rings * sectors values.
    """
    grey = image.astype(np.float64)
    edges = gaussian_gradient_magnitude(grey, 1.0)
    y, x = np.indices(vessel.shape)
    rows, columns = np.nonzero(vessel)
    angle = np.arctan2(y - rows.mean(), x - columns.mean())
    sector = np.floor((angle + np.pi) / (2 * np.pi) * SECTORS).astype(int) % SECTORS
    depth = distance_transform_edt(vessel) / np.sqrt(len(rows) / np.pi)
    values: list[NDArray[np.float64]] = []
    for low, high in pairwise(RINGS):
        ring = vessel & (depth > low) & (depth <= high)
        cells = [ring & (sector == s) for s in range(SECTORS)]
        for measure in (
            [grey[c].mean() if c.any() else 0.0 for c in cells],
            [grey[c].std() if c.any() else 0.0 for c in cells],
            [edges[c].mean() if c.any() else 0.0 for c in cells],
        ):
            values.append(np.sort(measure))
    return np.concatenate(values)


def _frames(source: Path) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_], str, str]]:
    group_of = patient_groups()
    for frame in list_frames(source):
        image, vessel = crop(*read(frame), frame.uid)
        role, group = group_of[frame.acquisition]
        yield image, vessel, f"{role}-{group}", frame.uid


def main() -> None:
    """Prints both controls as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    source: Path = parser.parse_args().source
    found = {"sham": vars(control(source)), "plaque": vars(control(source, sham=False))}
    print(json.dumps(found, indent=1))  # noqa: T201 (a command's answer)


if __name__ == "__main__":
    main()
