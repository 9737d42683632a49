"""breast_us: the three public layouts, from tiny generated files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.breast_data import HEIGHT, UCLM, WIDTH, frame, lesion, prepare, write_uclm
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError, UserError
from uadbench.core.roles import Role
from uadbench.data.storage.checks import check_store
from uadbench.datasets.breast_us import BreastUS
from uadbench.datasets.breast_us.crop import UCLM_PART, WHOLE, find_box
from uadbench.datasets.breast_us.layouts import SPLIT
from uadbench.testing.dataset_checks import check_dataset


def test_uclm_takes_what_the_rule_says_and_counts_the_rest(tmp_path: Path) -> None:
    store, said = prepare(write_uclm(tmp_path / "raw"), tmp_path / "store")
    assert {item.uid: (item.role, item.kind, item.lesion) for item in store.items} == {
        "uclm-CHSP_000": (Role.TRAIN, "lesion-patient", False),
        "uclm-COST_000": (Role.TRAIN, "", False),
        "uclm-ANAT_000": (Role.CALIB, "", False),
        "uclm-UNCU_000": (Role.LABELLED, "malignant", True),
        "uclm-ALWI_000": (Role.TEST, "benign", True),
        "uclm-ALWI_001": (Role.TEST, "lesion-patient", False),
    }
    for told in ("1 Doppler", "1 drawn marks", "1 two views in one", "1 copies of another", "1 lesion frames of pat"):
        assert told in said
    assert sum(note.startswith("Left out") for note in store.manifest.notes) == 5
    head = store.manifest
    assert (head.modality, head.polarity, head.source, head.ranked) == ("us-breast", -1, "real", True)


def test_crop_takes_logo_marker_and_black_band_away(tmp_path: Path) -> None:
    store, _ = prepare(write_uclm(tmp_path / "raw"), tmp_path / "store")
    for number, (name, *_) in enumerate(UCLM):
        if name == "ALWI_000":
            item = store.item("uclm-ALWI_000")
            # Rows 3 to 86 of 100, columns from the end of the band.
            expected = frame(number)[3:86, 9:].astype(np.float32) / 127.5 - 1
            assert np.abs(store.image(item)[0] - expected).max() < 1e-3
            assert np.array_equal(store.mask(item) == 1, lesion()[3:86, 9:].any(2))
            assert store.body(item).all()


def test_crop_ignores_where_a_lesion_is() -> None:
    grey = frame(0).astype(np.float32) / np.float32(255)
    dark = grey.copy()
    dark[30:60, 40:80] = 0
    assert find_box(dark, UCLM_PART, "x") == find_box(grey, UCLM_PART, "x")


def test_black_image_is_refused() -> None:
    with pytest.raises(DataError, match="black margins"):
        find_box(np.zeros((HEIGHT, WIDTH), np.float32), WHOLE, "x.png")


def test_committed_split_keeps_the_published_test_patients() -> None:
    split = json.loads(SPLIT.read_text())
    assert {role: len(names) for role, names in split.items()} == {"train": 12, "labelled": 5, "calib": 5, "test": 14}
    everyone = [name for names in split.values() for name in names]
    assert len(everyone) == len(set(everyone)) == 36
    assert "CHCO" not in everyone
    assert set(split["calib"]) == {"ANAT", "FLKA", "HESN", "WAQU", "LOTI"}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (("XXXX_000", "Normal", "No", "No", "No"), "not in the committed split"),
        (("ALWI_009", "Odd", "No", "No", "No"), "label 'Odd'"),
    ],
)
def test_uclm_names_what_is_wrong(tmp_path: Path, row: tuple[str, str, str, str, str], told: str) -> None:
    source = write_uclm(tmp_path / "raw")
    with (source / "INFO.csv").open("a") as table:
        table.write(f"\n{row[0]}.png;1x1;{';'.join(row[1:])}")
    with pytest.raises(DataError, match=told):
        prepare(source, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_uclm_empty_mask_of_a_lesion_frame_is_refused(tmp_path: Path) -> None:
    source = write_uclm(tmp_path / "raw")
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(source / "masks" / "ALWI_000.png")
    with pytest.raises(DataError, match="labelled benign"):
        prepare(source, tmp_path / "store")


def test_colour_inside_the_crop_is_refused_and_outside_is_not(tmp_path: Path) -> None:
    source = write_uclm(tmp_path / "raw")
    colour = np.stack([frame(5)] * 3, axis=2)
    colour[90:, 110:] = (255, 0, 0)
    Image.fromarray(colour).save(source / "images" / "ALWI_000.png")
    prepare(source, tmp_path / "store")
    colour[30:50, 30:50] = (255, 0, 0)
    Image.fromarray(colour).save(source / "images" / "ALWI_000.png")
    with pytest.raises(DataError, match="coloured"):
        prepare(source, tmp_path / "other")


def write_busi(source: Path) -> Path:
    for place, (label, count) in enumerate({"benign": 8, "malignant": 6, "normal": 12}.items(), 1):
        (source / label).mkdir(parents=True)
        for n in range(1, count + 1):
            seed = 1000 * place + n
            Image.fromarray(np.stack([frame(seed, logo=False)] * 3, axis=2)).save(source / label / f"{label} ({n}).png")
            mask = lesion()[..., 1] if label != "normal" else np.zeros((HEIGHT, WIDTH), np.uint8)
            Image.fromarray(mask).save(source / label / f"{label} ({n})_mask.png")
    second = np.zeros((HEIGHT, WIDTH), np.uint8)
    second[10:20, 80:90] = 255
    Image.fromarray(second).save(source / "benign" / "benign (1)_mask_1.png")
    # A malignant image that is a copy of a benign one at another gain, and a coloured one.
    copy = (frame(1001, logo=False) * 0.8).astype(np.uint8)
    Image.fromarray(np.stack([copy] * 3, axis=2)).save(source / "malignant" / "malignant (1).png")
    doppler = np.stack([frame(1, logo=False)] * 3, axis=2)
    doppler[30:60, 30:60] = (255, 0, 0)
    Image.fromarray(doppler).save(source / "normal" / "normal (1).png")
    return source


def test_busi_groups_copies_adds_masks_and_is_not_ranked(tmp_path: Path) -> None:
    store, said = prepare(write_busi(tmp_path / "raw" / "Dataset_BUSI_with_GT").parent, tmp_path / "store")
    assert not store.manifest.ranked
    assert "1 coloured" in said
    assert len(store.items) == 8 + 6 + 11
    assert store.item("busi-benign(1)").patient == store.item("busi-malignant(1)").patient
    assert len({item.patient for item in store.items}) == len(store.items) - 1
    assert (store.mask(store.item("busi-benign(1)")) == 1).sum() == 20 * 20 + 10 * 10
    assert {item.role for item in store.items} == set(Role)
    assert not [item for item in store.items if item.lesion and item.role in (Role.TRAIN, Role.CALIB)]
    check_store(store)


def test_bra_is_a_test_set(tmp_path: Path) -> None:
    source = tmp_path / "raw"
    (source / "Images").mkdir(parents=True)
    (source / "Masks").mkdir()
    lines = ["ID,Case,Histology,Pathology,BIRADS"]
    for n, side in ((1, "l"), (1, "r"), (2, "s")):
        name = f"{n:04d}-{side}"
        Image.fromarray(frame(ord(side), logo=False)).save(source / "Images" / f"bus_{name}.png")
        Image.fromarray(lesion()[..., 1]).save(source / "Masks" / f"mask_{name}.png")
        lines.append(f"bus_{name},{n},cyst,benign,2")
    (source / "bus_data.csv").write_text("\n".join(lines))
    store, _ = prepare(source, tmp_path / "store")
    assert Counter(item.role for item in store.items) == {Role.TEST: 3}
    assert {item.patient for item in store.items} == {"bra-1", "bra-2"}
    assert not store.manifest.ranked
    (source / "Masks" / "mask_0002-s.png").unlink()
    with pytest.raises(DataError, match=r"mask_0002-s\.png"):
        prepare(source, tmp_path / "other")


def test_store_passes_the_conformance_kit(tmp_path: Path) -> None:
    prepare(write_uclm(tmp_path / "raw"), tmp_path / "store")
    failed = [result for result in check_dataset(tmp_path / "store", BreastUS.card.patients) if not result.passed]
    assert not failed


def test_unknown_layout_names_download(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError) as error:
        prepare(tmp_path / "raw", tmp_path / "store")
    assert "uadbench download breast_us" in str(error.value.remedy)


def test_there_is_no_phantom_and_no_paper_recipe(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uadbench", "run", "--method", "position", "--dataset", "breast_us"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 2
    assert "uadbench download breast_us" in result.stderr
    assert "uadbench prepare breast_us" in result.stderr
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="recipe"):
        BreastUS().prepare(tmp_path, tmp_path / "store", "paper", 1, no_progress)
