"""metadata.csv: one line per image, separated by commas, semicolons or tabs."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

from uadbench.core.errors import DataError
from uadbench.data.reading.folder import inside
from uadbench.data.reading.incoming import Incoming, discover, unique
from uadbench.datasets.folder.rows import NAMED, Layout, Row

COLUMNS = ("image", "mask", "roi", "patient", "series", "slice", "split", "label")
NORMAL, ABNORMAL = {"0", "normal", "healthy", "good", "false"}, {"1", "abnormal", "anomalous", "lesion", "true"}
NAMES = ("metadata.csv", "metadata.tsv", "metadata.txt")


def find_table(source: Path) -> Path | None:
    """Returns the table of a folder, None if there is none."""
    found = {path.name.lower(): path for path in source.iterdir() if path.is_file()}
    return next((found[name] for name in NAMES if name in found), None)


def read_table(source: Path, path: Path) -> Layout:
    """Reads the table.

    Raises:
        DataError: If it cannot be read, or listing the first ten wrong lines and counting the others.
    """
    table = _cells(inside(source, path))
    header = list(table[0][1])
    unknown = [name for name in header if name not in COLUMNS]
    if "image" not in header or unknown:
        wrong = f"has the unknown column '{unknown[0]}'" if unknown else "lacks the column 'image'"
        raise DataError(f"{path} {wrong}.", f"Columns: {', '.join(COLUMNS)}.")
    rows: list[Row] = []
    faults: list[DataError] = []
    for line, cells in table:
        try:
            rows.append(_row(source, path, line, {name: cells.get(name, "").strip() for name in COLUMNS}, header))
        except DataError as error:
            faults.append(error)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        more = [f"and {len(faults) - NAMED} more."] if len(faults) > NAMED else []
        raise DataError("\n  ".join([f"{path}: {len(faults)} lines are wrong:", *map(str, faults[:NAMED]), *more]))
    _refuse_double(path, rows)
    images = unique([row.image for row in rows], source)
    rows = [replace(row, image=image) for row, image in zip(rows, images, strict=True)]
    return Layout(path.name, rows, used=(path,))


def _cells(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Returns the rows, each with the line of the file that it ends on."""
    try:
        raw = path.read_bytes()
        text = _decoded(raw).replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read as a table.", "Save it as UTF-8 CSV with a header.") from error
    before = 0
    if text.lower().startswith("sep="):  # a line for spreadsheets
        before, text = 1, text.partition("\n")[2]
    head = text.split("\n", 1)[0]
    mark = max(",;\t", key=head.count)
    try:
        reader = csv.reader(io.StringIO(text), delimiter=mark)
        table = [(before + reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table: {error}.", "Save it as UTF-8 CSV with a header.") from error
    names = [name.strip().lower() for name in table[0][1]] if table else []
    if len(set(names)) < len(names):
        raise DataError(f"{path} has two columns with the same name.", "Rename one.")
    rows = [(line, cells) for line, cells in table[1:] if any(cell.strip() for cell in cells)]
    if not rows:
        raise DataError(f"{path} lists no image.", "Write one line per image below the header.")
    return [(line, dict(zip(names, [*cells, *[""] * len(names)], strict=False))) for line, cells in rows]


def _decoded(raw: bytes) -> str:
    """Returns the text: UTF-16 and UTF-8 as they say, else Windows-1252 as spreadsheets in western Europe write."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeError:
        if b"\0" in raw:
            raise
        return raw.decode("cp1252")


def _row(source: Path, path: Path, line: int, get: dict[str, str], header: list[str]) -> Row:
    if not get["image"]:
        raise DataError(f"{path}, line {line}: no image.", "Fill the cell or remove the line.")
    label = get["label"].lower()
    if label and label not in NORMAL | ABNORMAL:
        raise DataError(f"{path}, line {line}: label '{label}' is unknown.", "Write normal or abnormal.")
    if get["slice"] and not re.fullmatch(r"\d+", get["slice"]):
        raise DataError(f"{path}, line {line}: slice '{get['slice']}' is not a number.", "Count slices from 0.")
    if "patient" in header and not get["patient"]:
        raise DataError(f"{path}, line {line}: no patient.", "Fill the cell.")
    masks = tuple(_existing(source, path, line, part) for part in get["mask"].split("|") if part.strip())
    return Row(
        _image(source, path, line, get["image"]),
        masks,
        _existing(source, path, line, get["roi"]) if get["roi"] else None,
        get["patient"],
        get["series"],
        int(get["slice"] or -1),
        get["split"].lower(),
        label in ABNORMAL if label else None if masks else False,
    )


def _image(source: Path, path: Path, line: int, name: str) -> Incoming:
    place = _existing(source, path, line, name)
    if place.is_dir():
        found = discover(source, sorted(place.iterdir()))[0]
        if len(found) != 1:
            raise DataError(f"{path}, line {line}: {name} holds {len(found)} images.", "Give one image or one series.")
        return found[0]
    found = discover(source, [place])[0]
    if not found:
        raise DataError(f"{path}, line {line}: {name} is not a supported image.", "Save it as PNG or NIfTI.")
    if len(found) > 1:
        raise DataError(f"{path}, line {line}: {name} holds {len(found)} frames.", "Export the frames one per file.")
    return found[0]


def _existing(source: Path, path: Path, line: int, name: str) -> Path:
    """Returns the file of a cell; Windows paths are allowed."""
    plain = name.strip().strip('"')
    place = source / plain
    try:
        if "\\" in plain and not place.exists():
            place = source / plain.replace("\\", "/")
        inside(source, place)
        there = place.exists()
    except (OSError, ValueError):  # too long for a file name, or no name at all
        there = False
    if not there:
        raise DataError(f"{path}, line {line}: {place} does not exist.", "Check the table and --source.")
    return place


def _refuse_double(path: Path, rows: list[Row]) -> None:
    taken: dict[tuple[str, str, int], Row] = {}
    seen: set[Path] = set()
    for row in rows:
        if row.place in seen:
            raise DataError(f"{path} lists {row.place} twice.", "List each image once.")
        seen.add(row.place)
        other = taken.setdefault((row.patient, row.series, row.index), row)
        if row.index >= 0 and other is not row:
            raise DataError(
                f"{row.place} and {other.place} are the same slice of a patient.",
                "Renumber them, or distinguish series in a column 'series'.",
            )
