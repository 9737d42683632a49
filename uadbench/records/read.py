"""Reads untrusted records; files that are not valid records are refused and listed."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import pandas as pd
from pydantic import BaseModel, RootModel, ValidationError

from uadbench.core.errors import DataError
from uadbench.core.record import DatasetPart, Isolation, Record
from uadbench.records.cases import parse_cases
from uadbench.records.curves import Curves
from uadbench.records.gaps import Gaps, Ladder
from uadbench.records.layout import EARLIER, VERIFICATION, Level, Verified, sha256_of

MAX_RECORD_BYTES = 2_000_000
MAX_CASES_BYTES = 100_000_000
MAX_TEXT = 200
_ID = re.compile(r"[0-9a-f]{8,64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,59}")
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
_PATH = re.compile(r"(?<![\w.:/-])(?:~|[A-Za-z]:)?(?:[/\\][\w.@+ -]+){2,}[/\\]?|\b[A-Za-z]:\\\S+")

Beside = TypeVar("Beside", bound=BaseModel)


@dataclass(frozen=True)
class Entry:
    """A record and its tables.

    Attributes:
        record: The record.
        file: Its file.
        verification: Its verification level.
        cases: One row per test case, if the table exists and has the hash in the record.
        curves: Its curves, under the same condition.
        ladder: The post-processing ladder, likewise.
        gaps: Its oracle gap and protocol gap, likewise.
        run: Folder of the stored run with its maps, if one was found.
        isolated: Isolation of the method in the rerun.
        superseded: Why it belongs to an earlier version that can no longer be checked, "" if it does not.
        kept: The same for a record that was verified while that version could be run: it keeps its rank.
    """

    record: Record
    file: Path
    verification: Level
    cases: pd.DataFrame | None
    curves: Curves | None = None
    ladder: Ladder | None = None
    gaps: Gaps | None = None
    run: Path | None = None
    superseded: str = ""
    kept: str = ""
    isolated: Isolation = "none"

    @property
    def tested(self) -> DatasetPart:
        """The test data."""
        return self.record.test_on or self.record.dataset

    def beside(self, name: str) -> Path:
        """Returns the path of a file of the record: ``name`` in a stored run, ``<id>.name`` of an exported record."""
        return self.file.with_name(f"{_start(self.file, self.record)}{name}")


class _Hashes(RootModel[dict[str, str]]):
    """SHA-256 of a record's file by its id."""


@dataclass(frozen=True)
class Refusal:
    """A refused file, with the reason."""

    file: str
    reason: str


Vouch = Callable[[Record], tuple[Sequence[str], str]]
"""Takes a record; returns contradictions to the registry, and why it is superseded ("" if it is not)."""


def unchecked(record: Record) -> tuple[Sequence[str], str]:  # noqa: ARG001 (a Vouch)
    """Accepts every record, if only its numbers matter."""
    return (), ""


def read_entries(folders: list[Path], vouch: Vouch = unchecked) -> tuple[list[Entry], list[Refusal]]:
    """Reads all records below some folders, sorted by id; the first of two files with the same id counts.

    A stored run adds its maps to its exported record.

    Both layouts are found: ``<protocol>/<dataset>/<method>/<id>.json`` and ``<id>/record.json``.

    Args:
        folders: Folders of records.
        vouch: Checks a record's claims against the registry; contradictions refuse the record.

    Raises:
        DataError: If a folder does not exist.
    """
    entries: dict[str, Entry] = {}
    refusals: list[Refusal] = []
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"The folder {folder} does not exist.", "Check --records and --runs.")
        kept = _kept(folder)
        for file in _record_files(folder):
            shown = plain(file.relative_to(folder).as_posix())
            try:
                entry = _read(file)
                problems, superseded = vouch(entry.record)
                if problems:
                    raise ValueError(problems[0])
                if superseded and kept.get(entry.record.id) == sha256_of(file):
                    entry = replace(entry, kept=superseded)
                else:
                    entry = replace(entry, superseded=superseded)
            except (ValueError, OSError) as error:
                refusals.append(Refusal(shown, plain(_first_line(error))))
                continue
            known = entries.setdefault(entry.record.id, entry)
            entries[known.record.id] = replace(known, run=known.run or entry.run)
    return [entries[key] for key in sorted(entries)], refusals


def _kept(folder: Path) -> dict[str, str]:
    """Returns id and hash of records of earlier versions that were verified while those versions could be run.

    ``earlier.json`` is next to ``records/``; only maintainers of the leaderboard change it
    (``verify leaderboard/ --base``).

    Raises:
        DataError: If it is not such a list.
    """
    file = folder.absolute().parent / EARLIER
    if not file.is_file():
        return {}
    try:
        return _Hashes.model_validate_json(file.read_bytes()).root
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is not a list of ids and hashes.", "Restore it from the repository.") from error


def plain(text: str, limit: int = MAX_TEXT) -> str:
    """Returns untrusted text as one short line without control characters, file paths and credentials."""
    return _plain(text[: 20 * limit], limit)


@lru_cache(maxsize=4096)  # case names recur in every run
def _plain(text: str, limit: int) -> str:
    text = _CREDENTIALS.sub("...@", text)
    text = _PATH.sub("[path]", text)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _record_files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*.json")):
        relative = file.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts) or {"rescored", "maps"} & set(relative.parts):
            continue
        stored_run = file.name == "record.json" and len(relative.parts) <= 2
        within_run = any((folder / part / "record.json").is_file() for part in (".", *relative.parts[:1]))
        exported = len(relative.parts) == 4 and "." not in file.stem and not within_run
        if stored_run or exported:
            yield file


def _read(file: Path) -> Entry:
    if file.is_symlink() or not file.is_file() or file.stat().st_size > MAX_RECORD_BYTES:
        raise ValueError("it is a link, no file, or too large for a record")
    record = Record.model_validate_json(file.read_bytes())
    _check(record, file)
    start = _start(file, record)
    verified = _verification(file.with_name(f"{start}{VERIFICATION}"))
    cases = _cases(file.with_name(f"{start}cases.csv"), record)
    return Entry(
        record,
        file,
        verified.level,
        cases,
        curves=_beside(Curves, "curves.json", file, start, record),
        ladder=_beside(Ladder, "ladder.json", file, start, record),
        gaps=_beside(Gaps, "gaps.json", file, start, record),
        run=None if start else file.parent,
        isolated=verified.isolated if verified.level == "rerun" else "none",
    )


def _start(file: Path, record: Record) -> str:
    return "" if file.name == "record.json" else f"{record.id}."


def _check(record: Record, file: Path) -> None:
    """Refuses names that could be paths or markup, and impossible numbers."""
    tested = record.test_on or record.dataset
    for what, value, form in (
        ("id", record.id, _ID),
        ("method", record.method.name, _WORD),
        ("dataset", record.dataset.name, _WORD),
        ("dataset", tested.name, _WORD),
        ("protocol", record.protocol.name, _NAME),
    ):
        if not form.fullmatch(value):
            raise ValueError(f"{what} {plain(value, 60)!r} is not allowed")
    texts = [record.method.label, record.method.version, tested.version, tested.fingerprint, record.protocol.version]
    if any(len(text) > MAX_TEXT for text in texts):
        raise ValueError(f"a name or version is longer than {MAX_TEXT} characters")
    if file.name != "record.json":
        place = (record.protocol.name, tested.name, record.method.name, f"{record.id}.json")
        if file.parts[-4:] != place:
            raise ValueError(f"it belongs to {'/'.join(place)}")
    for key, metric in record.metrics.items():
        if len(key) > MAX_TEXT or metric.n_patients < 0:
            raise ValueError("a metric has an impossible name or number of patients")
        bounded = metric.unit == "1" and not key.startswith("ssim")
        values = [value for value in (metric.value, metric.low, metric.high) if value is not None]
        if bounded and any(not -1e-9 <= value <= 1 + 1e-9 for value in values):
            raise ValueError(f"metric {plain(key, 60)} lies outside 0 to 1")
        if metric.low is not None and metric.high is not None and metric.low > metric.high:
            raise ValueError(f"metric {plain(key, 60)} has its interval upside down")
    if record.cost is not None:
        cost = record.cost
        spent = (cost.train_s, cost.predict_ms_per_image, cost.peak_gb, float(cost.parameters))
        if any(not math.isfinite(value) or value < 0 for value in spent):
            raise ValueError("its cost is negative or not finite")


def _verification(file: Path) -> Verified:
    if not file.is_file() or file.stat().st_size > MAX_RECORD_BYTES:
        return Verified(level="reported")
    return Verified.model_validate_json(file.read_bytes())


def _cases(file: Path, record: Record) -> pd.DataFrame | None:
    if not file.is_file() or file.stat().st_size > MAX_CASES_BYTES:
        return None
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != record.hashes.get("cases.csv"):
        raise ValueError("its table of cases does not have the hash in the record")
    try:
        table = parse_cases(content, {"case", "patient", "ap"})
    except ValueError as error:
        raise ValueError(f"its table of cases cannot be read: {' '.join(str(error).split())}") from error
    for name in {"kind", "cohort"} & set(table.columns):
        table[name] = table[name].where(table[name] != "")
    return table


def _beside(kind: type[Beside], name: str, record_file: Path, start: str, record: Record) -> Beside | None:
    """Reads a JSON table of a record; None if it does not exist or is null."""
    file = record_file.with_name(f"{start}{name}")
    if not file.is_file() or file.stat().st_size > MAX_RECORD_BYTES:
        return None
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != record.hashes.get(name):
        raise ValueError(f"its {name} does not have the hash in the record")
    return None if content.strip() == b"null" else kind.model_validate_json(content)


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return ": ".join(filter(None, [".".join(str(part) for part in first["loc"]), str(first["msg"])]))
    if isinstance(error, OSError):
        return "it cannot be read"
    return str(error)
