"""From the layouts found in a folder to a store."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from uadbench.core.dataset import Dataset, Progress, Recipe
from uadbench.core.errors import DataError
from uadbench.data.storage.store import StoreWriter
from uadbench.datasets.liver_ct.cases import convert
from uadbench.datasets.liver_ct.layouts import KNOWN, find


def prepare(source: Path, out: Path, recipe: Recipe, workers: int, progress: Progress, dataset: Dataset) -> str:
    """Writes the store and returns what was found.

    Raises:
        DataError: If no layout is recognised or a file cannot be used.
    """
    found = find(source)
    if not found.cases:
        raise DataError(f"{source} holds no layout that liver_ct knows.", f"Known: {KNOWN}. Check --source.")
    if recipe == "paper" and not found.volumes:
        raise DataError(f"{found.title} holds no Hounsfield units: no recipe 'paper'.", "Use --recipe strict.")
    with StoreWriter(
        out,
        dataset=dataset.name,
        version=dataset.version,
        source="real",
        recipe=recipe,
        polarity=dataset.card.polarity if found.volumes else 0,
        modality="ct-liver",
        ranked=found.ranked,
        organ_masks=True,
        notes=found.notes,
    ) as writer:
        for done, case, slices in writer.converted(partial(convert, recipe=recipe), found.cases, workers):
            for one in slices:
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
