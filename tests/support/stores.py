"""A tiny prepared store, so that tests exercise the real loader, runner and scorer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from uadbench.core.dataset import Source
from uadbench.core.roles import Role
from uadbench.core.seeding import numpy_generator
from uadbench.data.storage.store import StoreWriter

PATIENTS = {Role.TRAIN: 6, Role.CALIB: 4, Role.LABELLED: 3, Role.VAL: 3, Role.TEST: 12}
SIZE = 40


def write_store(
    out: Path,
    *,
    dataset: str = "carotid_us",
    name: str = "tiny",
    frames: int = 3,
    version: str = "test",
    source: Source = "phantom",
    recipe: str = "tiny",
    modality: str = "",
) -> Path:
    """Writes smooth random frames with a bright disc as lesion in every other test patient and in all labelled ones.

    What it says of itself is nothing that a registered dataset says: records of it run, and are never verified.
    """
    rows, columns = np.mgrid[:SIZE, :SIZE]
    body = (rows - 20) ** 2 + (columns - 20) ** 2 < 18**2
    with StoreWriter(
        out, dataset=dataset, version=version, source=source, recipe=recipe, polarity=1, modality=modality
    ) as writer:
        for role, count in PATIENTS.items():
            for p in range(count):
                lesion = role in (Role.LABELLED, Role.VAL) or (role == Role.TEST and p % 2 == 0)
                rng = numpy_generator(name, role.value, p)
                for f in range(frames):
                    image = 0.3 * gaussian_filter(rng.standard_normal((SIZE, SIZE)), 2) / 0.14 - 0.4
                    mask = np.zeros((SIZE, SIZE), np.uint8)
                    if lesion:
                        r, c = rng.integers(12, 28, 2)
                        disc = (rows - r) ** 2 + (columns - c) ** 2 < rng.integers(3, 6) ** 2
                        mask[disc] = 1
                        image = image + 0.7 * disc
                    uid = f"{name}-{role.value}-{p}-{f}"
                    writer.add(
                        uid=uid,
                        case=uid,
                        patient=f"{name}-{role.value}-{p}",
                        role=role,
                        cohort=name,
                        image=np.where(body, np.clip(image, -1, 1), -1)[None],
                        body=body,
                        mask=mask,
                        kind="disc" if lesion else "",
                        spacing=(0.5, 0.5),
                    )
    return out
