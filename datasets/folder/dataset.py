"""``folder``: anybody's own data behind the Dataset interface."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import DatasetCard, Progress, Recipe
from uadbench.core.errors import DataError, UserError
from uadbench.core.roles import Role
from uadbench.data.storage.store import StoreWriter
from uadbench.datasets.folder.images import convert
from uadbench.datasets.folder.rows import Row, find
from uadbench.datasets.folder.split import roles

UNRANKED = "A role is empty, or test holds no mask of a lesion: not ranked."


@DATASETS.register("folder")
class Folder:
    """Images of any modality; a case is an image, a volume, or the slices of a patient that are numbered."""

    name: ClassVar[str] = "folder"
    version: ClassVar[str] = "1"
    card: ClassVar[DatasetCard] = DatasetCard(
        title="Your own images",
        modality="any",
        licence="Yours",
        access="Yours: uadbench prepare folder --source DIR --out DIR",
    )

    def phantom_key(self) -> str:
        """Refuses: there is no phantom of anybody's data.

        Raises:
            UserError: Always.
        """
        raise UserError("folder has no phantom.", "Name a folder made by uadbench prepare folder with --source.")

    def make_phantom(self, out: Path, progress: Progress) -> None:
        """Refuses, as ``phantom_key``.

        Raises:
            UserError: Always.
        """
        self.phantom_key()

    def prepare(self, source: Path, out: Path, recipe: Recipe, workers: int, progress: Progress) -> str:
        """Converts a folder; file names and patients become numbers.

        Raises:
            DataError: If no layout is recognised or a file cannot be used; nothing is left behind.
            UserError: If the recipe is not strict.
        """
        if recipe != "strict":
            raise UserError("folder has the recipe 'strict' alone.", "Leave --recipe out.")
        title, rows, notes = find(source)
        role_of, split_notes = roles(rows)
        rows = sorted(rows, key=lambda row: (row.patient, row.index, row.image))
        numbers = {patient: n for n, patient in enumerate(sorted(role_of))}
        full = {Role.TRAIN, Role.CALIB, Role.TEST} <= set(role_of.values())
        drawn = [row for row in rows if row.abnormal and not row.label_only]
        ranked = full and any(role_of[row.patient] == Role.TEST for row in drawn)
        blind = sum(row.label_only for row in rows)
        with StoreWriter(
            out,
            dataset=self.name,
            version=self.version,
            source="real",
            recipe=recipe,
            ranked=ranked,
            organ_masks=any(row.roi is not None for row in rows),
            notes=[
                *notes,
                *split_notes,
                *([f"{blind} abnormal images have no mask: image AUROC and AP alone."] if blind else []),
                *([] if ranked else [UNRANKED]),
            ],
        ) as writer:
            sick = {row.patient for row in rows if row.abnormal}
            for done, row, slices in writer.converted(convert, rows, workers):
                patient = f"p{numbers[row.patient]:05d}"
                case = patient if row.index >= 0 else f"{patient}-{done:05d}"
                for z, one in enumerate(slices):
                    lesion = row.label_only or bool(one.mask.any())
                    # The items of a case follow one another.
                    before = writer.items[-1] if writer.items else None
                    if before is not None and before.case == case and before.shape[1:] != one.body.shape:
                        raise DataError(f"{row.image} has another size than its case.", "Leave its slice number empty.")
                    writer.add(
                        uid=f"{patient}-{done:05d}-{z:04d}",
                        case=case,
                        patient=patient,
                        role=role_of[row.patient],
                        cohort="own",
                        image=one.image[None],
                        body=one.body,
                        mask=one.mask,
                        index=max(row.index, 0) + z,
                        kind="" if not lesion and row.patient not in sick else "lesion" if lesion else "lesion-patient",
                        spacing=one.spacing,
                        thickness=one.thickness,
                        label_only=row.label_only,
                    )
                progress(done, len(rows), _what(row))
        return f"{title}: {len(rows)} images or volumes of {len(numbers)} patients"


def _what(row: Row) -> str:
    return row.image.name
