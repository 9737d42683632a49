"""``carotid_us``: the phantom and the readers of real layouts as a Dataset."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import DatasetCard, Progress, Recipe
from uadbench.core.errors import DataError, UserError
from uadbench.core.record import stable_hash
from uadbench.data.preprocessing.normalise import grey_scale
from uadbench.data.storage.store import StoreWriter
from uadbench.data.storage.workers import in_threads
from uadbench.datasets.carotid_us import momot, phantom, sweeps


@DATASETS.register("carotid_us")
class CarotidUS:
    """Carotid plaques in transverse B-mode frames; a case is a frame."""

    name: ClassVar[str] = "carotid_us"
    version: ClassVar[str] = phantom.VERSION
    card: ClassVar[DatasetCard] = DatasetCard(
        title="Carotid ultrasound, transverse B-mode",
        modality="US",
        organ_modality="us-carotid",
        licence="Phantom: Apache-2.0. Momot images: CC BY 4.0, cite doi:10.17632/d4xt63mgjm.1. Sweeps: their owner's",
        access="Phantom: embedded. Momot: Mendeley Data, doi:10.17632/d4xt63mgjm.1. Sweeps: your own",
        polarity=1,
        patients={"phantom": 160},
    )

    def phantom_key(self) -> str:
        """Returns a hash of the generator's version and parameters."""
        return stable_hash([phantom.VERSION, phantom.PARAMETERS])

    def make_phantom(self, out: Path, progress: Progress, seed: int = 0) -> None:
        """Simulates all frames of all patients into a store."""
        everyone = list(phantom.patients(seed))
        pixel = phantom.PARAMETERS["frame"]["pixel_mm"]
        with StoreWriter.of(
            self,
            out,
            source="phantom",
        ) as writer:
            simulated = in_threads(phantom.frames_of, everyone)
            for done, (patient, frames) in enumerate(zip(everyone, simulated, strict=True)):
                progress(done, len(everyone), "simulating patients")
                for number, frame in enumerate(frames):
                    uid = f"{patient.uid}-{number}"
                    writer.add(
                        uid=uid,
                        case=uid,
                        patient=patient.uid,
                        role=patient.role,
                        cohort="phantom",
                        image=grey_scale(frame.image)[None],
                        body=np.ones_like(frame.mask),
                        mask=frame.mask,
                        kind=patient.plaque.kind if patient.plaque else "",
                        spacing=(pixel, pixel),
                    )

    def prepare(self, source: Path, out: Path, recipe: Recipe, workers: int, progress: Progress) -> str:
        """Converts real frames with vessel masks: the sweep layout, or Momot's with plaques inserted into the test set.

        Raises:
            DataError: If the layout is not recognised or a file cannot be used.
            UserError: If the recipe does not exist for this layout.
        """
        if (source / "metadata.csv").exists():
            if recipe != "strict":
                raise UserError("The Momot layout supports only the recipe 'strict'.", "Remove --recipe.")
            return momot.prepare(source, out, workers, progress, self)
        if sweeps.found_in(source):
            return sweeps.prepare(source, out, recipe, workers, progress, self)
        raise DataError(
            f"{source} is not a known carotid layout.",
            "Expected SWEEP/{img,vessel,plaque}/*.png, or Momot's metadata.csv, images/ and artery_masks/.",
        )
