"""The brain MRI dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import DatasetCard, Progress, Recipe
from uadbench.core.record import stable_hash
from uadbench.core.roles import Role
from uadbench.data.preprocessing.brain import brain_scale
from uadbench.data.storage.store import StoreWriter
from uadbench.data.storage.workers import in_threads
from uadbench.datasets.brain_mri import phantom
from uadbench.datasets.brain_mri.cases import Case, Slices, convert
from uadbench.datasets.brain_mri.discover import discover
from uadbench.datasets.brain_mri.roles import assign_roles
from uadbench.datasets.brain_mri.selection import Selection, notes_of

POLARITY = {"flair": 1, "t2": 1, "t1": -1, "t1c": 0}


@DATASETS.register("brain_mri")
class BrainMri:
    """Axial slices of brain-extracted MRI; a case is a volume.

    Args:
        modality: Images of public layouts to prepare: flair, t2, t1 or t1c; None selects the first that all
            cohorts of the source have.
    """

    name: ClassVar[str] = "brain_mri"
    version: ClassVar[str] = phantom.VERSION
    card: ClassVar[DatasetCard] = DatasetCard(
        title="Brain MRI with tumours, stroke and multiple-sclerosis lesions",
        modality="MRI",
        organ_modality="mr-brain-flair",
        licence="Phantom: Apache-2.0. MSLUB: CC BY, cite Lesjak et al., Neuroinformatics 2018, "
        "doi:10.1007/s12021-017-9348-7. IXI: CC BY-SA 3.0. BraTS and ATLAS: terms of use on registration",
        access="Phantom: embedded. BraTS: synapse.org. IXI: brain-development.org. ATLAS v2: INDI. MSLUB: Laboratory "
        "of Imaging Technologies, University of Ljubljana",
        polarity=1,
        patients={"phantom": 142, "brats21": 1251, "brats23": 1251, "ixi": 581, "atlas": 655, "mslub": 30},
    )

    def __init__(self, modality: str | None = None) -> None:
        self.modality = modality

    def phantom_key(self) -> str:
        """Returns a hash of the generator's version and parameters."""
        return stable_hash([phantom.VERSION, phantom.PARAMETERS])

    def make_phantom(self, out: Path, progress: Progress, seed: int = 0) -> None:
        """Simulates the FLAIR volumes of all patients into a store."""
        everyone = list(phantom.patients(seed))
        grid = phantom.PARAMETERS["grid"]
        with StoreWriter.of(
            self,
            out,
            source="phantom",
        ) as writer:
            scans = in_threads(phantom.simulate, everyone)
            for done, (patient, scan) in enumerate(zip(everyone, scans, strict=True)):
                progress(done, len(everyone), "simulating patients")
                image = brain_scale(scan.image, scan.body)
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
        """Converts a folder with one or several public layouts; see the README.

        Raises:
            UnknownName: If there is no such modality.
            DataError: If no layout is recognised or a file cannot be used; nothing is left behind.
        """
        found = discover(source, self.modality)
        cases = [replace(case, recipe=recipe) for case in assign_roles(found.cases)]
        selection = Selection(cases)
        notes = notes_of(cases, found.modality)
        with StoreWriter.of(
            self,
            out,
            source="real",
            recipe=recipe,
            polarity=POLARITY[found.modality],
            modality=f"mr-brain-{found.modality}",
            ranked=recipe == "strict" and {case.role for case in cases} >= {Role.TRAIN, Role.CALIB, Role.TEST},
            notes=notes,
        ) as writer:
            for done, case, slices in writer.converted(convert, cases, workers):
                self._write(writer, case, slices, selection)
                progress(done, len(cases), case.name)
        return f"{'; '.join(found.titles)}: {len(cases)} volumes of {found.modality}"

    def _write(self, writer: StoreWriter, case: Case, slices: Slices, selection: Selection) -> None:
        for row, z in enumerate(slices.index):
            lesion = bool(slices.lesion[row])
            if case.role is None or not selection.takes(case, z, lesion):
                continue
            if lesion and not slices.mask[row].any():
                continue  # the lesion is smaller than half a pixel of the paper's grid
            writer.add(
                uid=f"{case.name}-z{z:03d}",
                case=case.name,
                patient=case.person,
                role=case.role,
                cohort=case.cohort,
                image=slices.image[row],
                body=slices.body[row],
                mask=slices.mask[row],
                index=z,
                kind=case.kind if lesion else case.healthy_kind,
                spacing=slices.spacing,
                thickness=slices.thickness,
            )
