"""From the layouts found in a folder to a store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from uadbench.core.dataset import Dataset, Progress, Recipe
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.core.seeding import derive_seed
from uadbench.data.reading.nifti import read_volume
from uadbench.data.storage.store import StoreWriter
from uadbench.datasets.liver_ct.cases import Case, convert, paper_takes
from uadbench.datasets.liver_ct.layouts import KNOWN, find

PAPER_ANOMALOUS = 1000
PAPER = (
    "Recipe 'paper': test holds slices with much tumour alone, at most 1000 of them, so false positives on healthy "
    "slices go unseen. Patients stay apart, unlike in the published code. Never ranked."
)


def prepare(source: Path, out: Path, recipe: Recipe, workers: int, progress: Progress, dataset: Dataset) -> str:
    """Writes the store and returns the layout found.

    Raises:
        DataError: If no layout is recognised or a file cannot be used.
    """
    found = find(source)
    if not found.cases:
        raise DataError(f"{source} contains no layout known to liver_ct.", f"Known: {KNOWN}. Check --source.")
    if recipe == "paper" and not found.volumes:
        raise DataError(f"{found.title} holds no Hounsfield units: no recipe 'paper'.", "Use --recipe strict.")
    drawn = draw_paper(found.cases) if recipe == "paper" else None
    with StoreWriter.of(
        dataset,
        out,
        source="real",
        recipe=recipe,
        polarity=dataset.card.polarity if found.volumes else 0,
        ranked=found.ranked and recipe == "strict",
        organ_masks=True,
        notes=[*found.notes, *([PAPER] if recipe == "paper" else [])],
    ) as writer:
        for done, case, slices in writer.converted(partial(convert, recipe=recipe), found.cases, workers):
            for one in slices:
                if drawn is not None and case.role == Role.TEST and (case.name, one.index) not in drawn:
                    continue
                writer.add(
                    uid=f"{case.name}-z{one.index:03d}" if found.volumes else case.name,
                    case=case.name,
                    patient=case.patient or case.name,
                    role=case.role,
                    cohort=case.cohort,
                    image=one.image[None],
                    body=one.body,
                    mask=one.mask,
                    index=one.index,
                    kind="metastasis" if one.mask.any() else one.kind,
                    spacing=one.spacing,
                    thickness=one.thickness,
                )
            progress(done, len(found.cases), case.name)
    return f"{found.title}: {len(found.cases)} {'volumes' if found.volumes else 'images'}"


def draw_paper(cases: Sequence[Case]) -> set[tuple[str, int]]:
    """Draws the slices of test; in an order independent of what else was downloaded."""
    anomalous: list[tuple[int, str, int]] = []
    for case in cases:
        if case.role == Role.TEST and case.lesion and case.labels is not None:
            labels = read_volume(case.labels).data
            tumour = np.isin(labels, case.lesion).sum((0, 1))
            area = np.isin(labels, case.liver).sum((0, 1)) + tumour
            pixels = labels.shape[0] * labels.shape[1]
            anomalous += [
                (derive_seed("liver_ct", "paper", case.name, z), case.name, z)
                for z in range(labels.shape[2])
                if tumour[z] and paper_takes(int(area[z]), int(tumour[z]), pixels)
            ]
    return {(name, z) for _, name, z in sorted(anomalous)[:PAPER_ANOMALOUS]}
