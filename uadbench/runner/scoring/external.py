"""Scores the maps of an outside system: files found by name, checked against the data, stored like a run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from uadbench.core.errors import DataError, UserError
from uadbench.core.files import atomic_write
from uadbench.core.job import EXTERNAL, Job, check_system_name
from uadbench.core.numerics import PLAIN
from uadbench.core.record import DatasetPart, Ledger, MethodPart, ProtocolPart, Record
from uadbench.core.roles import Role
from uadbench.data.reading.nifti import axial, read_volume
from uadbench.data.storage.store import Item, Store
from uadbench.evaluation.protocol.protocol import Protocol
from uadbench.records.environment import environment
from uadbench.records.layout import VERIFICATION, write_level
from uadbench.runner.planning.plan import dataset_part
from uadbench.runner.scoring.score_run import score_run
from uadbench.runner.storage.maps import begin_maps, complete_maps
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.runner.storage.stored_cases import by_case

ROLES = (Role.CALIB, Role.VAL, Role.TEST)
SUFFIXES = (".nii.gz", ".nii", ".npy")
SHOWN = 3
UNRANKED = "No maps of the calib patients were given, so no honest threshold exists: never ranked."


@dataclass(frozen=True)
class Claim:
    """What somebody says of a system whose maps they bring.

    Attributes:
        name: Name of the row: lower case letters, digits and underscores.
        version: Version of the system.
        supervision: Labels it learnt from: "none", "healthy" or "masks".
        tuning_labels: Labels its settings were chosen on: "none", "synthetic", "val", "test" or "unknown".
        seed: Training seed, so that several of them make one row.
    """

    name: str
    version: str = "1"
    supervision: Literal["none", "healthy", "masks"] = "healthy"
    tuning_labels: str = "unknown"
    seed: int = 0


def score_external(
    maps: Path, claim: Claim, store: Store, protocol: Protocol, root: Path, *, fresh: bool = False
) -> tuple[Record, Path]:
    """Scores a folder of maps and stores the result like a run, with verification ``reported``.

    Args:
        maps: ``calib/``, ``test/`` and optionally ``val/`` with one file per case or slice, or the test files alone.
        claim: What is said of the system.
        store: The data.
        protocol: Rules of scoring.
        root: Folder under which ``<id>/`` is made.
        fresh: Whether to replace an entry of the same name, version and seed.

    Returns:
        The record and its folder.

    Raises:
        UserError: If the name is not allowed or such an entry is stored already.
        DataError: If files are missing, too many, of another shape, or hold NaN or infinite values.
    """
    check_system_name(claim.name)
    folders = _folders(maps)
    found = {role: _match(folder, store.role(role)) for role, folder in folders.items()}
    job = _job(claim, store, protocol, complete=Role.CALIB in found)
    run = RunFolder(root / job.id)
    if run.record() is not None and not fresh:
        raise UserError(
            f"{claim.name} version {claim.version} seed {claim.seed} is stored already ({run.path}).",
            "Give another --version or --seed, or replace it with --fresh.",
        )
    records: list[Record] = []

    def write(path: Path) -> None:
        part = RunFolder(path)
        for role, files in found.items():
            _store_maps(part.maps / role.value, store.role(role), files)
        records.append(_score(claim, job, store, protocol, part))
        shutil.rmtree(run.path)  # last: bad files never cost what is stored

    with run.locked():
        try:
            atomic_write(run.path, write)
        finally:
            if not run.record_file.exists():
                shutil.rmtree(run.path, ignore_errors=True)
    return records[0], run.path


def _score(claim: Claim, job: Job, store: Store, protocol: Protocol, run: RunFolder) -> Record:
    evaluation, hashes = score_run(store, store, run, protocol, claim.seed, present_only=True)
    record = Record(
        id=job.id,
        seed=job.seed,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        status="done",
        method=job.method,
        dataset=job.dataset,
        protocol=job.protocol,
        metrics=evaluation.metrics,
        ledger=Ledger(
            threshold_labels=evaluation.threshold_labels,
            tuning_labels=claim.tuning_labels,
            checkpoint_rule="unknown",
            organ_masks_at_test=store.manifest.organ_masks,
            defaults_from="stated by whoever gave the maps",
        ),
        env=environment(torch.device("cpu"), PLAIN),
        hashes=hashes,
    )
    run.save_job(job)
    write_level(run.path / VERIFICATION, "reported")
    run.save_record(record)
    return record


def _job(claim: Claim, store: Store, protocol: Protocol, *, complete: bool) -> Job:
    data: DatasetPart = dataset_part(store)
    if not complete:
        data = data.model_copy(update={"ranked": False, "notes": [*data.notes, UNRANKED]})
    return Job(
        method=MethodPart(
            name=claim.name,
            label=claim.name,
            version=claim.version,
            supervision=claim.supervision,
            preset=EXTERNAL,
            config={},
        ),
        dataset=data,
        protocol=ProtocolPart(name=protocol.name, version=protocol.version, hash=protocol.hash),
        seed=claim.seed,
        precision="fp32",
    )


def _folders(maps: Path) -> dict[Role, Path]:
    """Returns the folder of each role: ``test/`` and its companions, or the folder itself for test alone."""
    if not maps.is_dir():
        raise DataError(f"{maps} is not a folder.", "Check --maps.")
    inside = sorted(path.name for path in maps.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not inside:
        return {Role.TEST: maps}
    known = {role.value for role in ROLES}
    if strange := [name for name in inside if name not in known]:
        raise DataError(f"{maps} holds the folder {strange[0]}.", f"Use {', '.join(sorted(known))} alone.")
    if Role.TEST.value not in inside:
        raise DataError(f"{maps} has no folder test.", "Put the maps of the test cases there.")
    if loose := [file.name for file in _files(maps)]:
        raise DataError(f"{maps} holds {_some(loose)} beside its folders.", "Move them into calib or test.")
    return {role: maps / role.value for role in ROLES if role.value in inside}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _match(folder: Path, items: Sequence[Item]) -> dict[str, Path]:
    """Returns the file of each case, or of each uid where slices have files of their own.

    Raises:
        DataError: Naming files that fit no case, and cases without a file.
    """
    if not items:
        raise DataError(f"The dataset has no '{folder.name}' patients.", f"Remove {folder}.")
    cases, uids = {item.case for item in items}, {item.uid for item in items}
    files: dict[str, Path] = {}
    strange: list[str] = []
    for file in _files(folder):
        stem = next((file.name.removesuffix(end) for end in SUFFIXES if file.name.endswith(end)), None)
        if stem is None or stem not in cases | uids:
            strange.append(file.name)
        elif stem in files:
            raise DataError(f"{folder} holds two maps of {stem}.", "Keep one of them.")
        else:
            files[stem] = file
    if strange:
        raise DataError(
            f"{folder} holds {_some(strange)}, which {_belong(strange)} to no case.",
            f"Name files CASE.npy or CASE.nii.gz, for example {items[0].case}.npy.",
        )
    missing = sorted({item.case for item in items if item.case not in files and item.uid not in files})
    if missing:
        raise DataError(
            f"{folder} lacks maps of {len(missing)} of {len(cases)} cases: {_some(missing)}.", "A row is never partial."
        )
    return files


def _store_maps(folder: Path, items: Sequence[Item], files: dict[str, Path]) -> None:
    """Writes the maps as one flat array on the native grids, items in stored order."""
    starts = np.concatenate([[0], np.cumsum([item.shape[1] * item.shape[2] for item in items])])
    flat = begin_maps(folder, (int(starts[-1]),))
    for members in by_case(items):
        case = members[0][1].case
        whole = _read(files[case], [item for _, item in members]) if case in files else None
        for position, (row, item) in enumerate(members):
            plane = _read(files[item.uid], [item])[0] if whole is None else whole[position]
            flat[starts[row] : starts[row + 1]] = plane.ravel()
    complete_maps(folder, flat, [item.uid for item in items], None)


def _read(file: Path, items: Sequence[Item]) -> list[NDArray[np.float32]]:
    """Reads the map of a case as its slices, each (h, w)."""
    planes = _read_npy(file, items) if file.name.endswith(".npy") else _read_nifti(file, items)
    for plane in planes:
        if not np.isfinite(plane).all():
            raise DataError(f"{file} holds NaN or infinite values.", "Write a number at every pixel.")
    return planes


def _read_npy(file: Path, items: Sequence[Item]) -> list[NDArray[np.float32]]:
    try:
        # Mapped, not read: what a header claims takes no memory, and a file that is shorter is refused.
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, OverflowError, MemoryError, TypeError) as error:
        raise DataError(f"{file} is not a readable NPY array.", "Save it with numpy.save.") from error
    if array.dtype.kind not in "fiub":
        raise DataError(f"{file} holds {array.dtype} instead of real numbers.", "Save it as float32.")
    _, h, w = items[0].shape
    wanted = (len(items), h, w)
    if array.shape != wanted and not (len(items) == 1 and array.shape == (h, w)):
        raise DataError(
            f"{file} has the shape {array.shape} instead of {wanted}.", "Give the map on the native grid of the data."
        )
    with np.errstate(over="ignore"):  # what does not fit float32 becomes infinite and is refused
        return list(array.reshape(wanted).astype(np.float32))


def _read_nifti(file: Path, items: Sequence[Item]) -> list[NDArray[np.float32]]:
    volume = read_volume(file)
    _, h, w = items[0].shape
    first, last = items[0].index, items[-1].index
    if volume.data.shape[:2] != (w, h) or volume.data.shape[2] <= last:
        raise DataError(
            f"{file} has the grid {volume.data.shape} in RAS order instead of ({w}, {h}, more than {last}).",
            "Give the map on the grid of the original volume.",
        )
    spacing = items[0].spacing
    if spacing is not None and last > first and not np.allclose(volume.slice_spacing, spacing, rtol=0.01):
        raise DataError(
            f"{file} has {volume.slice_spacing} mm a pixel instead of {spacing}.",
            "Save the map with the affine of the original volume.",
        )
    return [np.ascontiguousarray(axial(volume.data, item.index)) for item in items]


def _some(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _belong(names: Sequence[str]) -> str:
    return "belongs" if len(names) == 1 else "belong"
