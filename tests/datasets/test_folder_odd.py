"""Folders as people have them: masks beside their class, links, spellings, tables of old spreadsheets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.folder_data import SIZE, listed, picture, prepare, put, series, table, two_folders
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.reading.incoming import find_incoming
from uadbench.data.storage.store import Store
from uadbench.datasets.folder import Folder
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


def test_other_folders_beside_the_images_of_a_class_are_not_images(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for kind, lesion in (("normal", False), ("tumour", True)):
        for number in range(8):
            image, mask = picture(50 * lesion + number, lesion=lesion)
            put(raw / kind / "images" / f"{number}.png", image)
            put(raw / kind / "masks" / f"{number}.png", mask)
            put(raw / kind / "overlays" / f"{number}.png", image)
    store = prepare(raw, tmp_path / "out")
    assert len(store.items) == 16
    assert any("8 .png in tumour/overlays/" in note for note in store.manifest.notes)


def test_a_store_inside_the_source_is_refused(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw")
    with pytest.raises(DataError, match="is inside the source"):
        prepare(raw, raw / "prepared")
    assert not (raw / "prepared").exists()
    prepare(raw, tmp_path / "out").path.rename(raw / "prepared")
    with pytest.raises(DataError, match="prepared is a prepared store"):
        prepare(raw, tmp_path / "more")


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


def test_a_patient_whose_only_mask_is_damaged_is_not_taken_for_healthy(tmp_path: Path) -> None:
    raw, rows = tmp_path / "raw", list[dict[str, str]]()
    for p in range(12):
        for z in range(2):
            image, mask = picture(10 * p + z, lesion=p > 7 and z == 0)
            put(raw / "images" / f"{p}-{z}.png", image)
            put(raw / "masks" / f"{p}-{z}.png", 255 * mask.astype(np.uint8))
            rows.append({"image": f"images/{p}-{z}.png", "mask": f"masks/{p}-{z}.png", "patient": f"P{p}"})
    table(raw, rows)
    (raw / "masks" / "9-0.png").write_bytes(b"damaged")
    Folder(skip_bad=True).prepare(raw, tmp_path / "out", "strict", 1, no_progress)
    store = Store(tmp_path / "out")
    assert len({item.patient for item in store.items}) == 11
    assert len(store.items) == 22
    assert any(
        "Also left out: 1 images of 1 patients whose bad files may show a lesion" in note
        for note in store.manifest.notes
    )


@pytest.mark.parametrize("split", ["train", "test"])
def test_slices_around_a_damaged_mask_are_not_taken_for_healthy_slices(tmp_path: Path, split: str) -> None:
    raw, rows = tmp_path / "raw", list[dict[str, str]]()
    for p, role in enumerate(("train", "train", "calib", split, "test")):
        for z in range(4):
            image, mask = picture(10 * p + z, lesion=p > 2 and z in (0, 3))
            put(raw / "images" / f"{p}-{z}.png", image)
            put(raw / "masks" / f"{p}-{z}.png", 255 * mask.astype(np.uint8))
            cells = {"image": f"images/{p}-{z}.png", "mask": f"masks/{p}-{z}.png", "patient": f"P{p}"}
            rows.append({**cells, "slice": str(z), "split": role})
    table(raw, rows)
    (raw / "masks" / "3-0.png").write_bytes(b"damaged")
    Folder(skip_bad=True, healthy="slices", gap=0).prepare(raw, tmp_path / "out", "strict", 1, no_progress)
    # Of the patient, test keeps what can be read: a lesion is known to be there.
    assert len(Store(tmp_path / "out").items) == (16 if split == "train" else 19)


@pytest.mark.parametrize("first", ["", "sep=,\n"])
def test_the_line_of_an_error_is_that_of_the_file(tmp_path: Path, first: str) -> None:
    raw = listed(tmp_path / "raw")
    file = raw / "metadata.csv"
    lines = file.read_text().splitlines()
    lines[3] = "gone-" + lines[3]
    text = first + "\n".join([lines[0], "", lines[1], "", "", *lines[2:]]) + "\n"
    file.write_text(text)
    line = next(n for n, each in enumerate(text.split("\n"), 1) if each.startswith("gone-"))
    with pytest.raises(DataError, match=f"line {line}: "):
        prepare(raw, tmp_path / "out")


def test_a_note_on_one_file_names_that_file(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw")
    wide = np.full(SIZE, 255, np.uint8)
    wide[:4] = 0
    put(raw / "masks" / "a5.png", wide)
    notes = prepare(raw, tmp_path / "out").manifest.notes
    assert any(note.startswith("a5.png: masks mark more than half") for note in notes)
