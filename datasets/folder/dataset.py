"""``folder``: a user's own data as a Dataset."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import DatasetCard, Progress, Recipe
from uadbench.core.errors import DataError, UserError
from uadbench.core.roles import Role
from uadbench.data.preprocessing.intake import GroupScale, Intake
from uadbench.data.storage.checks import duplicates_error, near_duplicates
from uadbench.data.storage.store import Store, StoreWriter
from uadbench.data.storage.workers import in_order
from uadbench.datasets.folder.decision import Decision, decide
from uadbench.datasets.folder.groups import (
    counted_by,
    doubtful_patients,
    expendable,
    joined,
    linked,
    near,
    number,
    numbered,
    odd_bodies,
    scales,
    unused,
)
from uadbench.datasets.folder.layouts import find
from uadbench.datasets.folder.options import Options, read_options
from uadbench.datasets.folder.patients import with_patients
from uadbench.datasets.folder.rows import Layout, Row, listed
from uadbench.datasets.folder.slices import Conversion, Converted, convert
from uadbench.datasets.folder.split import roles
from uadbench.datasets.folder.survey import Seen, Task, resolved, survey
from uadbench.datasets.folder.table import find_table


@dataclass
class _Found:
    """The analysis of a folder before anything is written."""

    layout: Layout
    rows: list[Row]
    decision: Decision
    role_of: dict[str, Role]
    notes: list[str]
    known: bool
    lost_test: bool


@DATASETS.register("folder")
class Folder:
    """Images of any modality; a case is an image, a volume, or the numbered slices of a patient.

    Args:
        options: Options for the images, see ``options.Options`` and ``Intake``.
    """

    name: ClassVar[str] = "folder"
    version: ClassVar[str] = "2"
    card: ClassVar[DatasetCard] = DatasetCard(
        title="Your own images",
        modality="any",
        licence="Yours",
        access="Yours: uadbench prepare folder --source DIR --out DIR",
    )

    def __init__(self, **options: Any) -> None:
        self.options: Options
        self.told: Intake
        self.options, self.told = read_options(options)
        self.drawn = True
        self._together: list[set[str]] = []
        self._dropped: set[str] = set()
        self._rows: list[Row] = []

    def phantom_key(self) -> str:
        """Refuses: a user's data have no phantom.

        Raises:
            UserError: Always.
        """
        raise UserError("folder has no phantom.", "Specify a folder written by uadbench prepare folder with --source.")

    def make_phantom(self, out: Path, progress: Progress, seed: int = 0) -> None:
        """Refuses, as ``phantom_key``.

        Raises:
            UserError: Always.
        """
        self.phantom_key()

    def file_of(self, uid: str) -> str:
        """Returns the file of an item of the last prepared store, which itself contains no names."""
        row = self._row(uid)
        return row.image.name if row.image.shape == "frame" else f"{row.image.name}, slice {int(uid.split('-')[2])}"

    def settle(self, store: Store) -> bool:
        """Resolves near-duplicates across roles; returns whether the folder must be prepared again.

        A drawn split groups them: all near-duplicates of different patients become one patient by single linkage. A
        given split is not changed: there they are an error, unless images outside test are dropped.

        Raises:
            DataError: Listing the pairs, if they are an error or grouping would leave too few patients.
        """
        how = self.options.near_duplicates or ("group" if self.drawn else "error")
        pairs = near_duplicates(store)
        if not pairs:
            return False
        error = duplicates_error(pairs, self.file_of)
        if how == "error" or (how == "group" and not self.drawn):
            remedy = "--near-duplicates drop omits images outside test."
            raise DataError(error.message, f"{error.remedy} {remedy}")
        if how == "drop":
            self._dropped |= {self._row(one.uid).image.name for pair in pairs for one in expendable(pair)}
            return True
        every = near_duplicates(store, within=True)
        groups = linked([{self._row(p.one.uid).patient, self._row(p.other.uid).patient} for p in every])
        patients = {item.patient for item in store.items}
        if max(len(group) for group in groups) > max(2, len(patients) // 2):
            raise DataError(f"{error.message}\nGrouping them would merge most patients.", error.remedy)
        self._together = groups
        return True

    def _row(self, uid: str) -> Row:
        return self._rows[int(uid.split("-")[1]) - 1]

    def prepare(self, source: Path, out: Path, recipe: Recipe, workers: int, progress: Progress) -> str:
        """Converts a folder; file names and patients become numbers.

        Raises:
            DataError: If no layout is recognised, a file cannot be used, or the store would be inside the source;
                nothing is left behind.
            UserError: If the recipe is not strict.
        """
        if recipe != "strict":
            raise UserError("folder supports only the recipe 'strict'.", "Remove --recipe.")
        source = Path(os.path.normpath(source))
        if find_table(source) is None and out.resolve().is_relative_to(source.resolve()):
            raise DataError(
                f"{out} is inside the source {source}: its files would be taken for raw images.",
                "Choose --out outside --source.",
            )
        found = self._look(source, workers, progress)
        rows, intake = found.rows, found.decision.intake
        self._rows = rows
        role_of = found.role_of
        numbers = {patient: n for n, patient in enumerate(sorted(role_of))}
        drawn = [row for row in rows if row.abnormal and not row.label_only]
        tested = any(role_of[row.patient] == Role.TEST for row in drawn)
        lacking = [role.value for role in (Role.TRAIN, Role.CALIB, Role.TEST) if role not in role_of.values()]
        why = [f"no image for the role {role}" for role in lacking]
        why += [] if tested or Role.TEST.value in lacking else ["test holds no mask of a lesion"]
        why += [] if found.known else ["no patients are known"]
        why += ["bad files of test were left out"] if found.lost_test else []
        counted = Counter[str]()
        jobs = self._jobs(found, progress)
        chose = sum(len(job.row.masks) for job in jobs if job.gap is not None)
        notes = [*found.notes, *counted_by(rows, role_of, by_slice=self.options.healthy == "slices")]
        notes += [f"Not ranked: {', '.join(why)}."] if why else []
        with StoreWriter.of(
            self,
            out,
            source="real",
            recipe=recipe,
            polarity=self.options.sign,
            modality=intake.modality,
            ranked=not why,
            organ_masks=any(row.roi is not None for row in rows),
            notes=notes,
            intake=intake,
            health_masks=chose,
        ) as writer:
            sick = {row.patient for row in rows if row.abnormal}
            shares: list[float] = []
            for done, job, made in writer.converted(convert, jobs, workers):
                self._add(writer, job.row, made, done, f"p{numbers[job.row.patient]:05d}", role_of, sick)
                shares += [float(one.body.mean()) for one in made.slices]
                counted["slices without body"] += made.blank
                counted["slices with a lesion or near one in train and calib"] += made.left_out
                progress(done, len(jobs), job.row.place.name)
            said = [f"Left out: {count} {what}." for what, count in counted.items() if count]
            writer.say([*said, *odd_bodies(shares, intake, rows)])
        taken = f" Taken for: {found.decision.taken}." if found.decision.taken else ""
        return f"{found.layout.title}: {len(rows)} images or volumes of {len(numbers)} patients.{taken}"

    def _look(self, source: Path, workers: int, progress: Progress) -> _Found:
        """Finds, reads and checks everything before anything is written."""
        layout = find(source)
        if not layout.rows:
            raise DataError(f"{source}: {layout.title} holds no image.", "Check --source.")
        labels = self.options.lesion
        if not labels and len(layout.labels) > 1:
            named = ", ".join(
                f"{value} {name}" for name, value in sorted(layout.labels.items(), key=lambda one: one[1])
            )
            raise DataError(
                f"{source}/dataset.json has the labels {named}.", "Select the lesion labels: --set lesion=2."
            )
        rows, notes, known = with_patients(source, layout.rows, self.told.patient_pattern)
        rows = sorted(numbered(rows), key=lambda row: (row.patient, row.series, row.index, row.image.name))
        seen: list[Seen] = []
        for one in in_order(survey, [Task(row, self.told, labels) for row in rows], workers):
            seen.append(one)
            progress(len(seen), len(rows), f"reading {rows[len(seen) - 1].place.name}")
        decision = decide(rows, seen, self.told, layout.modality, alone=not known)
        faults = decision.faults | {n: one.fault for n, one in enumerate(seen) if one.fault}
        if faults and (not self.options.skip_bad or len(faults) == len(rows)):
            raise listed([faults[n] for n in sorted(faults)])
        unsure = {n for n, row in enumerate(rows) if seen[n].fault and row.abnormal is not False}
        rows = joined(resolved(rows, seen), self._together)
        self.drawn = not any(row.split for row in rows)
        role_of, split_notes = roles(rows, by_slice=self.options.healthy == "slices")
        doubtful = doubtful_patients(rows, unsure, role_of)
        whole = [row for n, row in enumerate(rows) if n not in faults and row.image.name not in self._dropped]
        kept = [row for row in whole if row.patient not in doubtful]
        if not kept:
            raise listed([faults[n] for n in sorted(faults)])
        lost = any(role_of[rows[n].patient] == Role.TEST for n in faults)
        skipped = (
            [f"Bad files left out: {len(faults)}, the first is {faults[min(faults)].file.name}."] if faults else []
        )
        if len(kept) < len(whole):
            count = len({row.patient for row in whole} & doubtful)
            skipped.append(
                f"Also left out: {len(whole) - len(kept)} images of {count} patients whose bad files may show a lesion."
            )
        role_of = {row.patient: role_of[row.patient] for row in kept}
        every = [*layout.notes, *notes, *decision.notes, *split_notes, *skipped, *self._grouping(rows)]
        return _Found(layout, kept, decision, role_of, [*every, *unused(source, layout)], known, lost)

    def _grouping(self, rows: Sequence[Row]) -> list[str]:
        notes = []
        if self._together:
            count = sum(len(group) for group in self._together)
            notes.append(
                f"Near-duplicates: {count} patients were taken as {len(self._together)} (single linkage, r above 0.99)."
            )
        dropped = sum(row.image.name in self._dropped for row in rows)
        return [*notes, f"Near-duplicates left out: {dropped} images."] if dropped else notes

    def _jobs(self, found: _Found, progress: Progress) -> list[Conversion]:
        intake, labels = found.decision.intake, self.options.lesion
        volume_scales: dict[tuple[str, str], GroupScale] = {}
        if intake.together:
            volume_scales = scales(found.rows, progress)
        by_slice = self.options.healthy == "slices"
        beside = near(found.rows, self.options.gap) if by_slice else set[str]()
        jobs: list[Conversion] = []
        for row in found.rows:
            role = found.role_of[row.patient]
            gap = self.options.gap if by_slice and role in (Role.TRAIN, Role.CALIB) else None
            if gap is not None and row.image.name in beside and not row.abnormal:
                continue
            group = volume_scales.get(row.group) if row.image.shape == "frame" else None
            jobs.append(Conversion(row, intake, labels, group, gap))
        left = len(found.rows) - len(jobs)
        if left:
            found.notes.append(f"Left out: {left} healthy images within {self.options.gap} slices of a lesion.")
            self._rows = [job.row for job in jobs]
        return jobs

    def _add(
        self,
        writer: StoreWriter,
        row: Row,
        made: Converted,
        done: int,
        patient: str,
        role_of: dict[str, Role],
        sick: set[str],
    ) -> None:
        case = (
            f"{patient}{row.series and '-' + str(number(row, self._rows))}"
            if row.index >= 0
            else f"{patient}-{done:05d}"
        )
        for one in made.slices:
            lesion = row.label_only or bool(one.mask.any())
            # The items of a case are consecutive.
            before = writer.items[-1] if writer.items else None
            if before is not None and before.case == case and before.shape[1:] != one.body.shape:
                raise DataError(f"{row.place} has another size than its case.", "Remove its slice number.")
            writer.add(
                uid=f"{patient}-{done:05d}-{one.index:04d}",
                case=case,
                patient=patient,
                role=role_of[row.patient],
                cohort="own",
                image=one.image,
                body=one.body,
                mask=one.mask,
                index=one.index if row.index < 0 else row.index,
                kind="" if not lesion and row.patient not in sick else "lesion" if lesion else "lesion-patient",
                spacing=one.spacing,
                thickness=one.thickness,
                label_only=row.label_only,
            )
