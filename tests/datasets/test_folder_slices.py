"""Numbered slices: each has its number, whatever file it lies in, and patients joined as near-duplicates stay apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from tests.support.folder_data import picture, put, series, table, volumes
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError
from uadbench.data.reading.incoming import Incoming
from uadbench.data.storage.store import Store
from uadbench.datasets.folder import Folder
from uadbench.datasets.folder.groups import joined, number, scales
from uadbench.datasets.folder.rows import Row


def prepare(source: Path, out: Path, **options: Any) -> Store:
    Folder(**options).prepare(source, out, "strict", 1, no_progress)
    return Store(out)


def test_listed_slices_of_ct_have_their_numbers(tmp_path: Path) -> None:
    raw, rows = tmp_path / "raw", list[dict[str, Any]]()
    for patient in range(4):
        for z, file in enumerate(sorted(series(raw / f"p{patient}").iterdir())):
            data = pydicom.dcmread(file)
            data.PixelData = (1100 + patient + z + np.arange(40 * 36) % 7).astype("<u2").tobytes()
            data.save_as(file)
            rows.append({"image": file.relative_to(raw).as_posix(), "patient": f"P{patient}", "slice": z + 10})
    store = prepare(table(raw, rows), tmp_path / "out")
    assert store.manifest.modality == "ct"
    assert [item.index for item in store.items] == [10, 11, 12, 13, 14] * 4
    assert len({item.case for item in store.items}) == 4


def test_a_volume_with_a_slice_number_is_refused(tmp_path: Path) -> None:
    raw = volumes(tmp_path / "raw", lambda data: data)
    rows = [{"image": f"normal/v{n}.nii.gz", "patient": f"P{n}", "slice": 0} for n in range(4)]
    with pytest.raises(DataError, match=r"v0\.nii\.gz is a volume, and its slice number 0") as caught:
        prepare(table(raw, rows), tmp_path / "out")
    assert "Leave the number of volumes out" in caught.value.remedy
    assert not (tmp_path / "out").exists()


def test_patients_joined_as_near_duplicates_keep_volumes_and_scales_of_their_own(tmp_path: Path) -> None:
    rows: list[Row] = []
    for patient, level in (("a", 100), ("b", 200), ("c", 50)):
        for z in range(3):
            plane = np.zeros((40, 36), np.uint8)
            plane[6:34, 6:30] = level
            image = Incoming(f"{patient}{z}", (put(tmp_path / f"{patient}{z}.png", plane),), "picture")
            rows.append(Row(image, patient=patient, index=z))
    told = joined(rows, [{"a", "b"}])
    assert [row.patient for row in told] == ["a"] * 6 + ["c"] * 3
    assert [scale.location for scale in scales(told, no_progress).values()] == [100, 200, 50]
    assert len({(row.patient, number(row, told), row.index) for row in told}) == 9


def test_listed_images_of_one_stem_are_two_images(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    rows = [
        {"image": put(raw / f"{n}{end}", picture(n + 50 * (end == ".tif"))[0]).name}
        for n in range(4)
        for end in (".png", ".tif")
    ]
    store = prepare(table(raw, [{**row, "label": "normal"} for row in rows]), tmp_path / "out")
    assert len({item.patient for item in store.items}) == 8
