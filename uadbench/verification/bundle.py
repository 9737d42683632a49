"""A run as one file for the leaderboard: written after verification, and read as untrusted.

The archive is a ZIP without compression and without dates, so the same run always gives the same bytes and no entry is
larger than it states. Nothing in it is ever executed or unpickled: a checker knows every allowed file name.
"""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from uadbench.core.config import is_result
from uadbench.core.dataset import Progress
from uadbench.core.errors import DataError, JobFailed, UserError
from uadbench.core.files import atomic_write, writing
from uadbench.core.record import SCHEMA, Record
from uadbench.records.layout import TABLES, sha256_of
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.verification.verify_run import verify_run

CONTENTS = "bundle.json"
TEXTS = ("record.json", "config.yaml", "spec.json", *TABLES)
WEIGHTS = "weights.safetensors"
MAPS = re.compile(r"maps/(calib|synthetic|val|test)/(maps\.npy|scores\.npy|reconstruction\.npy|uids\.json)")
NEEDED = ("record.json", "config.yaml", "cases.csv", "curves.json")

KILO, MEGA, GIGA = 10**3, 10**6, 10**9
LIMITS = {"record.json": 2 * MEGA, "config.yaml": 100 * KILO, "spec.json": KILO, CONTENTS: 100 * KILO}
LARGEST_TEXT, LARGEST_ARRAY, LARGEST_BUNDLE = 100 * MEGA, 8 * GIGA, 16 * GIGA
MOST_ENTRIES = 32
_MOMENT = (1980, 1, 1, 0, 0, 0)


class Contents(BaseModel):
    """Contents of ``bundle.json``.

    Attributes:
        format: Version of the layout.
        id: Id of the run.
        files: SHA-256 of each other file in the bundle.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    id: str
    files: dict[str, str]


def write_bundle(
    run: Path,
    out: Path,
    source: str | None,
    test_source: str | None,
    progress: Progress,
    *,
    maps: bool = True,
    weights: bool = False,
) -> Record:
    """Verifies a run and writes its bundle.

    Args:
        run: Folder of a finished run.
        out: File to write, ``.zip``.
        source: Where the run's data are, None for its phantom.
        test_source: Its prepared test data.
        progress: Called while a phantom is simulated.
        maps: Whether to include the raw maps; otherwise only their hashes.
        weights: Whether to include the weights; otherwise only their hash.

    Raises:
        UserError: If the run is of preset smoke or the file cannot be written.
        DataError: If it is not a finished run.
        JobFailed: If it does not verify.
    """
    if out.suffix != ".zip":
        raise UserError(f"{out} does not end in .zip.", "Name the bundle with --out NAME.zip.")
    record = RunFolder(run).finished_record()
    if record.schema_version < SCHEMA:
        raise UserError(
            f"{run} was written by an earlier version, without a hash of every file.",
            f"Update it: uadbench evaluate --run {run} --in-place",
        )
    if not is_result(record.method.preset):
        raise UserError("A run of preset smoke is never ranked.", "Submit one of preset quick, standard or paper.")
    problems = verify_run(run, source, test_source, progress).problems
    if problems:
        raise JobFailed(f"{run} does not verify: {'; '.join(problems)}.")
    names = [name for name in TEXTS if (run / name).exists()]
    if maps:
        names += [name for name in record.hashes if MAPS.fullmatch(name)]
    if weights and WEIGHTS in record.hashes:
        names.append(WEIGHTS)
    contents = Contents(id=record.id, files={name: sha256_of(run / name) for name in sorted(names)})
    atomic_write(out, lambda part: _pack(run, contents, part))
    return record


def _pack(run: Path, contents: Contents, file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(_entry(CONTENTS), "w") as stream:
            stream.write(contents.model_dump_json(indent=1).encode())
        for name in contents.files:
            with (run / name).open("rb") as source, archive.open(_entry(name), "w", force_zip64=True) as stream:
                shutil.copyfileobj(source, stream)


@contextmanager
def opened_bundle(bundle: Path) -> Generator[Path]:
    """Unpacks a bundle into a temporary folder after checking its names, sizes and hashes.

    Raises:
        DataError: If it is not a bundle, or contains anything not allowed.
    """
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        try:
            with zipfile.ZipFile(bundle) as archive:
                _unpack(archive, _checked(archive), folder)
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
            words = f"{bundle} is not a readable bundle ({type(error).__name__})."
            raise DataError(words, "Write it again.") from error
        yield folder


def _checked(archive: zipfile.ZipFile) -> Contents:
    """Returns the table of contents of an archive after checking that it lists all entries."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len(entries) > MOST_ENTRIES or len(set(names)) < len(names):
        raise DataError(f"The bundle holds {len(entries)} entries, or one name twice.", "Write it again.")
    for entry in entries:
        if entry.filename not in (*TEXTS, CONTENTS, WEIGHTS) and not MAPS.fullmatch(entry.filename):
            raise DataError(f"The bundle holds {entry.filename[:80]!r}, which no bundle has.", "Write it again.")
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            raise DataError(f"{entry.filename} in the bundle is a link or no file.", "Write it again.")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
            raise DataError(f"{entry.filename} in the bundle is compressed or encrypted.", "Write it again.")
        if entry.file_size > _limit(entry.filename):
            raise DataError(f"{entry.filename} in the bundle has {entry.file_size} bytes.", "That is too many.")
    if sum(entry.file_size for entry in entries) > LARGEST_BUNDLE:
        raise DataError("The bundle is too large.", f"At most {LARGEST_BUNDLE // GIGA} GB.")
    if missing := [name for name in (CONTENTS, *NEEDED) if name not in names]:
        raise DataError(f"The bundle lacks {missing[0]}.", "Write it with: uadbench submit RUN")
    try:
        contents = Contents.model_validate_json(archive.read(CONTENTS))
    except ValidationError as error:
        raise DataError(f"{CONTENTS} in the bundle cannot be read.", "Write it again.") from error
    if set(contents.files) != {*names} - {CONTENTS}:
        raise DataError(f"{CONTENTS} does not list what the bundle holds.", "Write it again.")
    return contents


def _unpack(archive: zipfile.ZipFile, contents: Contents, folder: Path) -> None:
    """Copies each entry to a known safe name, and checks its hash."""
    for name, expected in contents.files.items():
        target = folder / name
        with archive.open(name) as stream, writing(folder.parent, "set TMPDIR to another folder"):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                _copy(stream, file)
        if sha256_of(target) != expected:
            raise DataError(f"{name} in the bundle has another hash than {CONTENTS} says.", "Write it again.")


def _copy(stream: IO[bytes], file: IO[bytes]) -> None:
    """Copies an entry; errors of the archive are not attributed to the folder."""
    while True:
        try:
            part = stream.read(MEGA)
        except OSError as error:
            raise zipfile.BadZipFile from error
        if not part:
            return
        file.write(part)


def _limit(name: str) -> int:
    return LIMITS.get(name, LARGEST_ARRAY if name.endswith((".npy", ".safetensors")) else LARGEST_TEXT)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _MOMENT)
    entry.create_system = 3  # equal bytes on every system
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    return entry
