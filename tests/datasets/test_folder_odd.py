"""Folders as people have them: masks beside their class, links, spellings, tables of old spreadsheets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.folder_data import SIZE, listed, picture, prepare, put, series
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.reading.incoming import find_incoming
from uadbench.datasets.folder.layouts import find


@pytest.mark.parametrize("inner", ["images", "."])
def test_masks_in_the_folder_of_a_class_are_masks(tmp_path: Path, inner: str) -> None:
    raw = tmp_path / "raw"
    for number in range(16):
        put(raw / "normal" / inner / f"n{number}.png", picture(number)[0])
    for number in range(6):
        image, mask = picture(100 + number, lesion=True)
        put(raw / "tumour" / inner / f"t{number}.png", image)
        put(raw / "tumour" / "masks" / f"t{number}.png", mask)
    layout = find(raw)
    assert len(layout.rows) == 22
    assert all(("masks" in row.masks[0].parts) == bool(row.abnormal) for row in layout.rows if row.masks)
    store = prepare(raw, tmp_path / "out")
    lesions = [item for item in store.items if item.lesion]
    assert len(lesions) == 6
    assert all(store.mask(item).any() for item in lesions)


def test_masks_beside_the_classes_of_a_split_are_masks(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for number in range(12):
        put(raw / "train" / "good" / f"g{number}.png", picture(number)[0])
    for number in range(4):
        image, mask = picture(50 + number, lesion=True)
        put(raw / "test" / "good" / f"h{number}.png", picture(80 + number)[0])
        put(raw / "test" / "abnormal" / f"a{number}.png", image)
        put(raw / "test" / "masks" / f"a{number}.png", mask)
    store = prepare(raw, tmp_path / "out")
    tested = [item for item in store.items if item.role is Role.TEST]
    assert len(tested) == 8
    assert sum(item.lesion for item in tested) == 4
    assert all(store.mask(item).any() for item in tested if item.lesion)


def test_patients_that_differ_only_in_case_are_refused(tmp_path: Path) -> None:
    raw = listed(tmp_path / "raw")
    file = raw / "metadata.csv"
    lines = file.read_text().splitlines()
    column = lines[0].split(",").index("patient")
    cells = lines[1].split(",")
    cells[column] = cells[column].upper() if cells[column].upper() != cells[column] else cells[column].lower()
    file.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
    with pytest.raises(DataError, match="differ only in case") as caught:
        prepare(raw, tmp_path / "out")
    assert cells[column] in str(caught.value)


def test_a_table_with_the_line_ends_of_old_spreadsheets_is_read(tmp_path: Path) -> None:
    raw = listed(tmp_path / "raw")
    file = raw / "metadata.csv"
    before = prepare(raw, tmp_path / "before").manifest.fingerprint
    file.write_bytes(file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r"))
    assert prepare(raw, tmp_path / "after").manifest.fingerprint == before


def test_a_cell_too_long_for_a_file_name_is_named_with_its_line(tmp_path: Path) -> None:
    raw = listed(tmp_path / "raw")
    file = raw / "metadata.csv"
    lines = file.read_text().splitlines()
    column = lines[0].split(",").index("image")
    cells = lines[1].split(",")
    cells[column] = 300 * "x" + ".png"
    file.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
    with pytest.raises(DataError, match="line 2"):
        prepare(raw, tmp_path / "out")


@pytest.mark.parametrize("what", ["a folder", "a missing file"])
def test_links_that_are_not_followed_are_named(tmp_path: Path, what: str) -> None:
    raw = tmp_path / "raw"
    for number in range(6):
        put(raw / "normal" / f"n{number}.png", picture(number)[0])
        put(raw / "abnormal" / f"a{number}.png", picture(number, lesion=True)[0])
    pool = tmp_path / "pool"
    put(pool / "x.png", np.zeros(SIZE, np.uint8))
    (raw / "normal" / "more").symlink_to(pool if what == "a folder" else pool / "gone.png")
    with pytest.raises(DataError, match=f"link to {what}"):
        prepare(raw, tmp_path / "out")


@pytest.mark.parametrize("place", [".", "..", "../patient"])
def test_a_series_in_the_current_folder_has_the_folder_s_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    folder = tmp_path / "patient"
    series(folder)
    inner = folder / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner if place == ".." else folder)
    (found,) = find_incoming(Path(place))
    assert found.name == "patient"


def test_a_listing_that_names_no_image_is_an_error(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "images").mkdir(parents=True)
    (raw / "images" / "b.gif").write_bytes(b"GIF89a")
    (raw / "data.json").write_text(json.dumps({"train": {"0": ["b.gif"]}, "test": {"0": ["b.gif"], "1": []}}))
    with pytest.raises(DataError, match=r"b\.gif"):
        find(raw)
