"""The brain MRI dataset."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import DatasetCard, Progress, Recipe
from uadbench.core.errors import DataError
from uadbench.core.record import stable_hash
from uadbench.data.normalise import mr_scale
from uadbench.data.store import StoreWriter
from uadbench.data.workers import in_order
from uadbench.datasets.brain_mri import mslub, phantom
from uadbench.datasets.brain_mri.cases import convert


@DATASETS.register("brain_mri")
class BrainMri:
    """Axial slices of brain-extracted MRI; a case is a volume."""

    name: ClassVar[str] = "brain_mri"
    version: ClassVar[str] = "1"
    card: ClassVar[DatasetCard] = DatasetCard(
        title="Brain MRI (FLAIR) with tumours and multiple-sclerosis lesions",
        modality="MRI",
        licence="MSLUB: CC BY, cite Lesjak et al., Neuroinformatics 2018, doi:10.1007/s12021-017-9348-7",
        access="MSLUB: Laboratory of Imaging Technologies, University of Ljubljana",
        polarity=1,
    )

    def phantom_key(self) -> str:
        """Returns a hash of the generator's version and parameters."""
        return stable_hash([phantom.VERSION, phantom.PARAMETERS])

    def make_phantom(self, out: Path, progress: Progress) -> None:
        """Simulates the FLAIR volumes of all patients into a store."""
        everyone = list(phantom.patients())
        grid = phantom.PARAMETERS["grid"]
        with StoreWriter(
            out,
            dataset=self.name,
            version=self.version,
            source="phantom",
            recipe=f"phantom-{self.phantom_key()}",
            polarity=self.card.polarity,
        ) as writer:
            for done, patient in enumerate(everyone):
                progress(done, len(everyone), "simulating patients")
                scan = phantom.simulate(patient)
                image = mr_scale(scan.image, scan.body)
                image[~scan.body] = -1
                for z in range(len(image)):
                    lesion = bool(scan.mask[z].any())
                    writer.add(
                        uid=f"{patient.uid}-z{z}",
                        case=patient.uid,
                        patient=patient.uid,
                        role=patient.role,
                        cohort="phantom",
                        image=image[z][None],
                        body=scan.body[z],
                        mask=scan.mask[z],
                        index=z,
                        kind=patient.kind if lesion else "lesion-patient" if patient.kind else "",
                        spacing=(grid["pixel_mm"], grid["pixel_mm"]),
                        thickness=grid["distance_mm"],
                    )

    def prepare(self, source: Path, out: Path, recipe: Recipe, workers: int, progress: Progress) -> str:
        """Converts a folder of a known layout; see the README for the layouts.

        Raises:
            DataError: If no layout is recognised or a file cannot be used; nothing is left behind.
        """
        cases = mslub.find(source)
        if not cases:
            raise DataError(f"{source} holds no layout that brain_mri knows.", f"Known: {mslub.TITLE}. Check --source.")
        if recipe != "strict":
            raise DataError("brain_mri has no recipe 'paper' for this layout.", "Use --recipe strict.")
        with StoreWriter(
            out,
            dataset=self.name,
            version=self.version,
            source="real",
            recipe=recipe,
            polarity=self.card.polarity,
            ranked=False,
            notes=list(mslub.NOTES),
        ) as writer:
            for done, (case, slices) in enumerate(zip(cases, in_order(convert, cases, workers), strict=True), 1):
                for row, z in enumerate(slices.index):
                    writer.add(
                        uid=f"{case.name}-z{z:03d}",
                        case=case.name,
                        patient=case.name,
                        role=case.role,
                        cohort=case.cohort,
                        image=slices.image[row],
                        body=slices.body[row],
                        mask=slices.mask[row],
                        index=z,
                        kind=case.kind if slices.mask[row].any() else case.healthy_kind,
                        spacing=slices.spacing,
                        thickness=slices.thickness,
                    )
                progress(done, len(cases), case.name)
        return f"{mslub.TITLE}: {len(cases)} volumes"
