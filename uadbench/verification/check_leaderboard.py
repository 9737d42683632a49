"""Checks everything submitted to a leaderboard, without data, and without running anything submitted.

A leaderboard is a folder with ``records/<protocol>/<dataset>/<method>/<id>.*`` and, if a submission includes them,
bundles in ``submissions/<id>.zip``. Only known file names are allowed; each table must have the hash in its
record; metrics are recomputed from the tables; and the records of one test set must have the same cases. A
bundle is checked like any other: its metrics are recomputed from its maps if this machine has the data.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from uadbench.core.config import is_result
from uadbench.core.dataset import Progress
from uadbench.core.errors import DataError, UserError
from uadbench.core.files import CannotWrite
from uadbench.core.record import SCHEMA, Record, stable_hash
from uadbench.records.layout import EARLIER, LEVELS, TABLES, VERIFICATION, Level, Verified, needed_files, sha256_of
from uadbench.records.read import read_entries
from uadbench.records.seeds import repeated_training
from uadbench.verification.bundle import LARGEST_TEXT, LIMITS, MEGA, opened_bundle
from uadbench.verification.check_bundle import check_bundle
from uadbench.verification.check_record import read_cases, recompute_from_tables
from uadbench.verification.claims import check_claims

RECORDS, SUBMISSIONS = "records", "submissions"
LARGEST_SUBMISSION = 50 * MEGA  # limits for files in a repository
OF_A_CASE = ("patient", "lesion", "pixels", "lesion_pixels", "lesion_pixels_outside_body")
_PLACE = re.compile(r"[\w.-]{1,80}/\w{1,80}/\w{1,80}/([0-9a-f]{8,64})\.([a-z.]{3,20})", re.ASCII)
_BUNDLE = re.compile(r"([0-9a-f]{8,64})\.zip")


@dataclass
class Audit:
    """Result of an audit.

    Attributes:
        levels: Number of records by claimed level of verification.
        bundles: Level that each bundle reached, by id.
        problems: One line each, naming the file; empty if there are none.
    """

    levels: Counter[str] = field(default_factory=Counter[str])
    bundles: dict[str, Level] = field(default_factory=dict[str, Level])
    problems: list[str] = field(default_factory=list[str])

    def note(self, where: str, reason: str) -> None:
        """Adds a problem as one sanitised line."""
        line = f"{where}: {reason}"
        self.problems.append("".join(char if char.isprintable() else "?" for char in line)[:400])


def audit(leaderboard: Path, *, progress: Progress, base: Path | None = None) -> Audit:
    """Checks a leaderboard.

    Args:
        leaderboard: The folder.
        progress: Called while the phantom of a bundle is made.
        base: The leaderboard before the submission. A new or changed record may then claim at most what its bundle
            shows, an old one at most what it claimed before, and none may be removed.

    Raises:
        DataError: If it is not a leaderboard.
    """
    found = Audit()
    records = leaderboard / RECORDS
    if leaderboard.is_symlink() or records.is_symlink() or not records.is_dir():
        raise DataError(f"{leaderboard} holds no folder {RECORDS}.", "Give the folder of a leaderboard.")
    files = _known_files(records, found)
    refused = read_entries([records])[1]
    for refusal in refused:
        found.note(refusal.file, refusal.reason)
    taken = [file for file in files if file not in {refusal.file for refusal in refused}]
    entries = {file: record for file in taken if (record := _checked_record(records, file, files, found)) is not None}
    superseded: dict[str, str] = {}
    for file, record in entries.items():
        if record.status == "done":
            beside = (records / file).with_suffix
            for problem in recompute_from_tables(record, lambda name, beside=beside: beside(f".{name}")):
                found.note(file, problem)
        claims = check_claims(record)
        for problem in claims.problems:
            found.note(file, problem)
        if claims.superseded:
            superseded[file] = claims.superseded
    _compare_seeds(entries, found)
    _compare_cases(records, entries, found)
    _check_bundles(leaderboard / SUBMISSIONS, records, entries, progress, found)
    if base is not None:
        _compare_base(records, base / RECORDS, entries, superseded, found)
    for file, record in entries.items():
        # Without the earlier leaderboard, only the submitted bundle supports a claim.
        shown = found.bundles.get(record.id, "reported")
        found.levels[shown if base is None else _verified(records / file).level] += 1
    return found


def _known_files(records: Path, found: Audit) -> list[str]:
    """Returns the allowed files of a leaderboard; all others are reported."""
    known: list[str] = []
    for folder, folders, names in os.walk(records, followlinks=False):
        for name in sorted([*folders, *names]):
            path = Path(folder) / name
            relative = path.relative_to(records).as_posix()
            if path.is_symlink():
                found.note(relative, "it is a link")
            elif path.is_dir() or relative == ".gitkeep":
                continue
            elif not path.is_file():
                found.note(relative, "it is not a file")
            elif (place := _PLACE.fullmatch(relative)) is None or place[2] not in ("json", VERIFICATION, *TABLES):
                found.note(relative, "this file is not allowed in a leaderboard")
            elif path.stat().st_size > (limit := LIMITS["record.json"] if place[2] == "json" else LARGEST_TEXT):
                found.note(relative, f"it has {path.stat().st_size} bytes, more than {limit}")
            else:
                known.append(relative)
    return sorted(known)


def _checked_record(records: Path, file: str, files: list[str], found: Audit) -> Record | None:
    """Returns the record of a file after checking its tables; None for tables and bad records."""
    place = _PLACE.fullmatch(file)
    if place is None:
        return None
    start = file.removesuffix(place[2])
    if place[2] != "json":
        if f"{start}json" not in files:
            found.note(file, "it belongs to no record")
        return None
    try:
        record = Record.model_validate_json((records / file).read_bytes())
    except (OSError, ValidationError):
        return None  # the report's rules have named it
    before = len(found.problems)
    tested = record.test_on or record.dataset
    if file != f"{record.protocol.name}/{tested.name}/{record.method.name}/{record.id}.json":
        found.note(file, "its record belongs in another folder")
    if not is_result(record.method.preset):
        found.note(file, "a run of preset smoke is never ranked")
    for name in TABLES:
        known, there = record.hashes.get(name), f"{start}{name}" in files
        needed = name in needed_files(record) and record.status == "done"
        if (known is None and (there or needed)) or (known is not None and not there):
            found.note(file, f"{name} is {'not named in it' if known is None else 'missing'}")
        elif known is not None and sha256_of(records / f"{start}{name}") != known:
            found.note(f"{start}{name}", "it does not have the hash in its record")
    if f"{start}{VERIFICATION}" in files:
        try:
            Verified.model_validate_json((records / f"{start}{VERIFICATION}").read_bytes())
        except ValidationError:
            found.note(f"{start}{VERIFICATION}", "it has no level of verification")
    return record if len(found.problems) == before else None


def _compare_seeds(entries: dict[str, Record], found: Audit) -> None:
    """One training counts as one seed."""
    rows: dict[str, list[Record]] = {}
    files = {record.id: file for file, record in entries.items()}
    for record in entries.values():
        same = [record.method, record.dataset, record.test_on or record.dataset, record.protocol]
        rows.setdefault(stable_hash([part.model_dump(mode="json") for part in same]), []).append(record)
    for row in rows.values():
        if reason := repeated_training([record for record in row if record.status == "done"]):
            found.note(files[row[-1].id], reason)


def _compare_cases(records: Path, entries: dict[str, Record], found: Audit) -> None:
    """Records of one test set under one protocol must have the same cases: the majority counts."""
    said: dict[tuple[str, ...], dict[str, list[str]]] = {}
    sizes: dict[str, int] = {}
    for file, record in entries.items():
        tested = record.test_on or record.dataset
        if record.status != "done":
            continue
        try:
            table = read_cases((records / file).with_suffix(".cases.csv")).sort_values("case")
        except (ValueError, OSError, pd.errors.ParserError):
            continue  # named already
        content = table[[name for name in ("case", *OF_A_CASE) if name in table]].to_csv(index=False)
        sizes[content] = len(table)
        said.setdefault((tested.fingerprint, record.protocol.hash), {}).setdefault(content, []).append(file)
    for versions in said.values():
        usual = max(versions, key=lambda content: len(versions[content]))
        for content, files in versions.items():
            for file in files if content != usual else []:
                words = f"its {sizes[content]} cases differ from the {sizes[usual]} of other records of these data"
                found.note(file, words)


def _check_bundles(folder: Path, records: Path, entries: dict[str, Record], progress: Progress, found: Audit) -> None:
    if folder.is_symlink():
        found.note(folder.name, "it is a link")
        return
    by_id = {record.id: file for file, record in entries.items()}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        where = f"{folder.name}/{path.name}"
        name = _BUNDLE.fullmatch(path.name)
        if path.is_symlink() or not path.is_file() or name is None:
            found.note(where, "it is not a bundle")
        elif path.stat().st_size > LARGEST_SUBMISSION:
            found.note(where, f"it has {path.stat().st_size} bytes, more than {LARGEST_SUBMISSION}")
        elif name[1] not in by_id:
            found.note(where, f"records/ has no valid record of it: uadbench verify {where} --accept records")
        else:
            file = by_id[name[1]]
            for problem in _check_one(path, records / file, entries[file], progress, found):
                found.note(where, problem)


def _check_one(bundle: Path, file: Path, record: Record, progress: Progress, found: Audit) -> Iterator[str]:
    """Yields problems with the bundle of a record; phantoms are simulated, patient data are not available."""
    phantom = all(part.source == "phantom" for part in (record.dataset, record.test_on or record.dataset))
    try:
        with opened_bundle(bundle) as run:
            if (run / "record.json").read_bytes() != file.read_bytes():
                yield "its record is not the one in records/"
                return
        result = check_bundle(bundle, None, None, progress, with_data=phantom)
    except CannotWrite:
        raise
    except UserError as error:  # for example a method that is not installed here
        yield error.message
        return
    yield from result.problems
    if not result.problems:
        found.bundles[record.id] = result.level


def _compare_base(
    records: Path, base: Path, entries: dict[str, Record], superseded: dict[str, str], found: Audit
) -> None:
    """Checks that a submission claims only what it shows."""
    for file, record in entries.items():
        before, claimed = base / file, _verified(records / file)
        same = before.is_file() and before.read_bytes() == (records / file).read_bytes()
        if not same and record.schema_version < SCHEMA:
            found.note(file, "it was written by an earlier version, without a hash of every file")
        if not same and file in superseded:
            found.note(file, superseded[file])
        old = _verified(before) if same else Verified(level="reported")
        shown = max(old.level, found.bundles.get(record.id, "reported"), key=LEVELS.index)
        if LEVELS.index(claimed.level) > LEVELS.index(shown):
            found.note(file, f"it claims the level {claimed.level}, but the submission shows {shown}")
        # A bundle is not rerun here, so that isolation can only have stood there before.
        if claimed.isolated not in ("none", old.isolated):
            found.note(file, f"it claims isolation by {claimed.isolated}, but nothing shows it")
    if _content(records.parent / EARLIER) != _content(base.parent / EARLIER):
        found.note(EARLIER, "a submission must not change the list of earlier records")
    there = {path.relative_to(base).as_posix() for path in base.rglob("*.json")}
    for file in sorted(there):
        place = _PLACE.fullmatch(file)
        if place is not None and place[2] == "json" and not (records / file).is_file():
            found.note(file, "a submission must not remove records")


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _verified(file: Path) -> Verified:
    """Returns the verification level and the isolation that a record claims."""
    try:
        return Verified.model_validate_json(file.with_name(f"{file.stem}.{VERIFICATION}").read_bytes())
    except (OSError, ValidationError):
        return Verified(level="reported")
