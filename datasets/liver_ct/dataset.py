"""``liver_ct``: the phantom and the readers of real layouts as a Dataset."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import DatasetCard, Progress, Recipe
from uadbench.core.errors import DataError
from uadbench.core.record import stable_hash
from uadbench.data.preprocessing.body import fill_slices
from uadbench.data.preprocessing.normalise import window
from uadbench.data.storage.store import StoreWriter
from uadbench.data.storage.workers import in_threads
from uadbench.datasets.liver_ct import phantom, prepare
from uadbench.datasets.liver_ct.cases import MIN_AREA_MM2, to_scale
from uadbench.datasets.liver_ct.chaos import check_on_tissue


@DATASETS.register("liver_ct")
class LiverCT:
    """Axial slices of abdominal CT; the body is the liver with its lesions; a case is a volume."""

    name: ClassVar[str] = "liver_ct"
    version: ClassVar[str] = phantom.VERSION
    card: ClassVar[DatasetCard] = DatasetCard(
        title="Liver CT with metastases",
        modality="CT",
        organ_modality="ct-liver",
        licence="Phantom: Apache-2.0. LiTS: CC BY-NC-ND 4.0, cite Bilic et al. 2023, doi:10.1016/j.media.2022.102680. "
        "MSD: CC BY-SA 4.0, cite Antonelli et al. 2022, doi:10.1038/s41467-022-30695-9. BTCV: registration at Synapse. "
        "CHAOS: CC BY-NC-SA 4.0, cite Kavur et al. 2021, doi:10.1016/j.media.2020.101950",
        access="Phantom: embedded. LiTS: CodaLab competition 17094. MSD Task03_Liver: medicaldecathlon.com. "
        "BTCV: Synapse syn3193805. CHAOS: Zenodo record 3431873. BMAD: its authors' release",
        polarity=-1,
        patients={"phantom": 122, "lits": 131, "msd": 131, "btcv": 30, "chaos": 20},
    )
    new_images: ClassVar[Literal["volume"]] = "volume"
    region: ClassVar[str] = "liver"

    def phantom_key(self) -> str:
        """Returns a hash of the generator's version and parameters."""
        return stable_hash([phantom.VERSION, phantom.PARAMETERS])

    def make_phantom(self, out: Path, progress: Progress, seed: int = 0) -> None:
        """Simulates all volumes into a store."""
        everyone = list(phantom.patients(seed))
        scale = phantom.PARAMETERS["window"]
        with StoreWriter.of(
            self,
            out,
            source="phantom",
            organ_masks=True,
        ) as writer:
            volumes = in_threads(phantom.simulate, everyone)
            for done, (patient, volume) in enumerate(zip(everyone, volumes, strict=True)):
                progress(done, len(everyone), "simulating patients")
                for z in np.flatnonzero(volume.liver.any((1, 2))):
                    lesion = volume.mask[z].any()
                    writer.add(
                        uid=f"{patient.uid}-z{z}",
                        case=patient.uid,
                        patient=patient.uid,
                        role=patient.role,
                        cohort="phantom",
                        image=window(volume.hu[z], scale["low"], scale["high"])[None],
                        body=volume.liver[z],
                        mask=volume.mask[z],
                        index=int(z),
                        kind=patient.kind if lesion else "lesion-patient" if patient.kind else "",
                        spacing=(patient.pixel, patient.pixel),
                        thickness=phantom.PARAMETERS["grid"]["interval_mm"],
                    )

    def normalise_region(
        self,
        data: NDArray[np.float32],
        region: NDArray[np.bool_],
        spacing: tuple[float, float, float] | None,
        recipe: str,
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Scales a new volume in HU like the stores; the body is the liver in slices with enough of it.

        Args:
            data: HU, (x, y, z) in RAS order.
            region: The liver with its lesions, same shape.
            spacing: Millimetres per voxel.
            recipe: "paper" for its per-slice scale; the phantom and "strict" use only the window.

        Raises:
            DataError: If it is a frame, no slice shows enough liver, or the mask belongs to another volume.
        """
        if spacing is None:
            raise DataError("liver_ct needs volumes", "Give NIfTI or DICOM.")
        check_on_tissue(data, region)
        area = region.sum((0, 1)) * spacing[0] * spacing[1]
        body = fill_slices(region & (area >= MIN_AREA_MM2))
        if not body.any():
            raise DataError(f"no slice has {MIN_AREA_MM2:.0f} mm² of liver", "Check the mask and the spacing.")
        return np.stack([to_scale(data[..., z], recipe) for z in range(data.shape[2])], -1), body

    def prepare(self, source: Path, out: Path, recipe: Recipe, workers: int, progress: Progress) -> str:
        """Converts a folder of a known layout; see the README for the layouts.

        Raises:
            DataError: If no layout is recognised or a file cannot be used; nothing is left behind.
        """
        return prepare.prepare(source, out, recipe, workers, progress, self)
