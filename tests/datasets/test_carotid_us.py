from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.momot_data import ACQUISITIONS, momot
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.storage.store import IGNORE, Store
from uadbench.datasets.carotid_us import CarotidUS, phantom
from uadbench.datasets.carotid_us.insertion import insert_plaque
from uadbench.datasets.carotid_us.sham_control import control


def test_patients_are_drawn_and_each_has_one_role() -> None:
    everyone = list(phantom.patients())
    assert len({patient.uid for patient in everyone}) == len(everyone)
    assert {patient.role for patient in everyone} == set(Role)
    for patient in everyone:
        if patient.role in (Role.TRAIN, Role.CALIB):
            assert patient.plaque is None
    test = [patient for patient in everyone if patient.role == Role.TEST]
    assert sum(patient.plaque is not None for patient in test) >= 30
    assert {patient.plaque.kind for patient in test if patient.plaque} == set(phantom.PARAMETERS["plaque"]["mix"])


def test_a_frame_is_the_same_twice_and_frames_differ() -> None:
    patient = next(phantom.patients())
    first, again = phantom.simulate(patient, 0), phantom.simulate(patient, 0)
    np.testing.assert_array_equal(first.image, again.image)
    assert (phantom.simulate(patient, 1).image != first.image).mean() > 0.5


def test_the_lumen_is_dark_the_wall_bright_and_bright_where_it_faces_the_probe() -> None:
    lumen, near, side = [], [], []
    for patient in list(phantom.patients())[:8]:
        image = phantom.simulate(patient, 0).image.astype(float)
        middle = image.shape[0] // 2
        pixels = patient.radius / phantom.PARAMETERS["frame"]["pixel_mm"]
        reach = int(pixels + 12)
        lumen.append(image[middle - 5 : middle + 5, middle - 5 : middle + 5].mean())
        near.append(image[middle - reach : middle - int(pixels) + 6, middle].max())
        side.append(image[middle, middle + int(pixels) - 6 : middle + reach].max())
    assert np.mean(lumen) < 60 < np.mean(near)
    assert np.mean(near) > np.mean(side)


def test_plaques_lie_on_the_wall_and_calcium_shadows() -> None:
    lesions = [patient for patient in phantom.patients() if patient.plaque][:30]
    for patient in lesions:
        frame = phantom.simulate(patient, 0)
        assert (frame.mask == 1).sum() > 20
        assert patient.plaque is not None
        if patient.plaque.kind == "calcified":
            shadow = frame.mask == IGNORE
            assert shadow.any()
            assert frame.image[shadow].mean() < frame.image[frame.mask == 1].mean()
        else:
            assert not (frame.mask == IGNORE).any()
    assert any(patient.plaque and patient.plaque.kind == "calcified" for patient in lesions)


def test_the_momot_layout_is_read_and_plaques_are_inserted_into_test_alone(tmp_path: Path) -> None:
    found = CarotidUS().prepare(momot(tmp_path / "raw"), tmp_path / "out", "strict", 1, no_progress)
    assert "16 frames of 3 acquisitions" in found
    store = Store(tmp_path / "out")
    assert store.manifest.source == "semi-synthetic"
    assert not store.manifest.ranked
    assert {item.role for item in store.items if item.lesion} == {Role.TEST}
    kinds = {item.kind for item in store.role(Role.TEST)}
    assert "sham" in kinds
    assert "" in kinds
    for item in store.items:
        assert item.lesion == (item.kind not in ("", "sham"))
        assert store.image(item).shape[1] > 40


def test_a_sham_changes_the_lumen_little_and_a_plaque_much() -> None:
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:80, :80]
    lumen = (rows - 40) ** 2 + (columns - 40) ** 2 < 20**2
    image = (np.where(lumen, 10, 120) + rng.integers(0, 20, lumen.shape)).astype(np.uint8)
    for seed in range(10):
        plaque, mask, kind = insert_plaque(image, lumen, np.random.default_rng(seed), sham=False)
        sham, none, name = insert_plaque(image, lumen, np.random.default_rng(seed), sham=True)
        assert kind != "sham"
        assert name == "sham"
        assert not none.any()
        region = mask == 1
        assert region.any()
        assert not (region & ~lumen).any()
        before = image[region].mean()
        assert plaque[region].mean() - before > abs(sham[region].mean() - before)


@pytest.mark.slow
def test_the_sham_control_sees_plaques_and_hardly_shams(tmp_path: Path) -> None:
    source = momot(tmp_path / "raw")
    sham, plaque = control(source), control(source, sham=False)
    assert plaque.frames == sham.frames == 16
    assert plaque.auroc > 0.8
    assert abs(sham.auroc - 0.5) < plaque.auroc - 0.5


def _break(folder: Path, what: str) -> None:
    image = next(iter(sorted((folder / "images").iterdir())))
    mask = folder / "artery_masks" / image.name
    table = folder / "metadata.csv"
    if what == "missing":
        image.unlink()
    elif what == "truncated":
        image.write_bytes(image.read_bytes()[:200])
    elif what == "no image":
        image.write_text("hello")
    elif what == "constant":
        Image.new("L", (80, 90), 7).save(image)
    elif what == "shape":
        Image.new("L", (8, 9), 255).save(mask)
    elif what == "empty mask":
        Image.new("L", (80, 90), 0).save(mask)
    elif what == "column":
        table.write_text(table.read_text().replace("acquisition", "session", 1))
    elif what == "traversal":
        table.write_text(table.read_text().replace("images/", "../images/", 1))
    elif what == "acquisition":
        table.write_text(table.read_text().replace(ACQUISITIONS[0] + ",0", "unknown,0"))
    elif what == "empty":
        table.write_text(table.read_text().splitlines()[0])


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("missing", "not in"),
        ("truncated", "truncated or not an image"),
        ("no image", "truncated or not an image"),
        ("constant", "constant"),
        ("shape", "does not match"),
        ("empty mask", "vessel mask is empty"),
        ("column", "lacks the column 'acquisition'"),
        ("traversal", "leaves the source folder"),
        ("acquisition", "committed split"),
        ("empty", "empty"),
    ],
)
def test_bad_files_are_named_and_nothing_is_left(tmp_path: Path, what: str, words: str) -> None:
    raw = momot(tmp_path / "raw")
    _break(raw, what)
    with pytest.raises(DataError, match=words):
        CarotidUS().prepare(raw, tmp_path / "out", "strict", 1, no_progress)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_another_folder_is_no_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a known carotid layout"):
        CarotidUS().prepare(tmp_path, tmp_path / "out", "strict", 1, no_progress)


def test_the_card_counts_the_patients_of_the_phantom() -> None:
    assert CarotidUS.card.patients["phantom"] == len(list(phantom.patients()))
