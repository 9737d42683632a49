"""The sweep layout of carotid frames: who is sick, who is one person, what the crop keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.support.sweep_data import FRAMES, HEALTHY, ROWS, SHAPE, SICK, disc, name_patients, save, sweeps
from uadbench.core.dataset import Recipe, no_progress
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.simulation.draw import draw_roles
from uadbench.data.storage.store import Store
from uadbench.datasets.carotid_us import CarotidUS
from uadbench.datasets.carotid_us.crop import Window
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import plan_run
from uadbench.runner.scoring.rescore import rescore
from uadbench.testing.dataset_checks import check_dataset


def prepare(root: Path, out: Path, recipe: Recipe = "strict") -> Store:
    CarotidUS().prepare(root, out, recipe, 1, no_progress)
    return Store(out)


def test_every_frame_is_cropped_to_its_vessel_on_the_native_grid(tmp_path: Path) -> None:
    raw = name_patients(sweeps(tmp_path / "raw"))
    found = CarotidUS().prepare(raw, tmp_path / "out", "strict", 1, no_progress)
    assert found == f"sweep layout, {(HEALTHY + SICK) * FRAMES} frames of {HEALTHY + SICK} sweeps"
    store = Store(tmp_path / "out")
    assert store.manifest.source == "real"
    assert store.manifest.ranked
    assert store.manifest.notes == []
    for item in store.items:
        assert 1.1 * 59 - 1 <= item.shape[1] == item.shape[2] <= 1.5 * 71 + 1
        sweep, _, frame = item.uid.partition("-")
        plaque = raw / sweep / "plaque" / f"{frame}.png"
        whole = np.asarray(Image.open(plaque)) > 0 if plaque.exists() else np.zeros(SHAPE, bool)
        assert (store.mask(item) == 1).sum() == whole.sum(), (
            "plaque lies inside the vessel, so the crop keeps all of it"
        )
        image, body = store.image(item)[0], store.body(item)
        assert -1 <= image.min() < -0.7 < 0.2 < image.max() <= 1, "one scale for all frames: grey / 255"
        assert (image[~body] == -1).all()
    assert {item.role for item in store.items} == set(Role)
    assert all(result.passed for result in check_dataset(tmp_path / "out"))


def test_plaque_in_one_frame_makes_the_patient_sick_and_keeps_him_out_of_training(tmp_path: Path) -> None:
    raw = name_patients(sweeps(tmp_path / "raw"), lambda n: f"p{n % HEALTHY}")  # sick sweeps share their patients
    store = prepare(raw, tmp_path / "out")
    sick = {item.patient for item in store.items if item.lesion}
    assert len(sick) == SICK
    for item in store.items:
        assert (item.role in (Role.LABELLED, Role.VAL, Role.TEST)) or item.patient not in sick
        assert (item.kind == "") == (item.patient not in sick)
    assert any(item.kind == "plaque-patient" and item.uid.startswith("sweep00") for item in store.items)


def test_a_split_does_not_depend_on_the_order_of_files_and_an_empty_mask_is_no_plaque(tmp_path: Path) -> None:
    first = prepare(name_patients(sweeps(tmp_path / "a")), tmp_path / "first")
    raw = name_patients(sweeps(tmp_path / "b"))
    for frame in range(FRAMES):
        save(raw / "sweep00" / "plaque" / f"{frame:04d}.png", np.zeros(SHAPE))
    assert prepare(raw, tmp_path / "second").manifest.fingerprint == first.manifest.fingerprint


def test_without_the_table_each_sweep_is_a_patient_and_the_rows_are_not_ranked(tmp_path: Path) -> None:
    store = prepare(sweeps(tmp_path / "raw"), tmp_path / "out")
    assert len({item.patient for item in store.items}) == HEALTHY + SICK
    assert not store.manifest.ranked
    assert "sweeps.csv" in store.manifest.notes[0]


def test_the_paper_takes_frames_with_much_plaque_alone(tmp_path: Path) -> None:
    raw = name_patients(sweeps(tmp_path / "raw"))
    store = prepare(raw, tmp_path / "out", "paper")
    assert not store.manifest.ranked
    sick = [item for item in store.items if item.kind]
    assert len(sick) == SICK
    assert all(item.lesion and item.uid.endswith("-0000") for item in sick)
    assert {item.role for item in store.items if not item.kind} == {Role.TRAIN, Role.CALIB}


def test_a_frame_without_the_vessel_is_left_out_and_counted(tmp_path: Path) -> None:
    raw = sweeps(tmp_path / "raw")
    save(raw / "sweep00" / "vessel" / "0001.png", np.zeros(SHAPE))
    assert "1 left out (the vessel is not in view)" in CarotidUS().prepare(
        raw, tmp_path / "out", "strict", 1, no_progress
    )


def test_a_record_says_that_a_mask_of_the_vessel_is_needed(tmp_path: Path, tiny_store: Path) -> None:
    store = prepare(name_patients(sweeps(tmp_path / "raw")), tmp_path / "out")
    whole, _, _ = execute(plan_run(method="random", train=Store(tiny_store), preset="smoke"), root=tmp_path / "runs")
    assert not whole.ledger.organ_masks_at_test
    plan = plan_run(method="random", train=store, preset="smoke")
    record, folder, _ = execute(plan, root=tmp_path / "runs")
    assert record.ledger.organ_masks_at_test
    silent = record.model_copy(update={"ledger": record.ledger.model_copy(update={"organ_masks_at_test": False})})
    (folder / "record.json").write_text(silent.model_dump_json())
    again, _ = rescore(folder, record.protocol.name, str(store.path), None, no_progress, in_place=True)
    assert again == record, "scored anew, a record that kept silent about it says it"


def _remove(name: str) -> Callable[[Path], None]:
    return lambda raw: (raw / name).unlink()


def _write(name: str, text: str) -> Callable[[Path], None]:
    def write(raw: Path) -> None:
        (raw / name).write_text(text)

    return write


def _draw(name: str, pixels: NDArray[np.generic]) -> Callable[[Path], None]:
    return lambda raw: save(raw / name, pixels)


def _link_out(raw: Path) -> None:
    outside = raw.parent / "elsewhere.png"
    (raw / "sweep01" / "vessel" / "0000.png").rename(outside)
    (raw / "sweep01" / "vessel" / "0000.png").symlink_to(outside)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_remove("sweep00/vessel/0001.png"), r"0001.png has no mask vessel/0001.png"),
        (_remove("sweep14/plaque/0001.png"), r"Save an empty mask"),
        (_remove("sweep14/img/0001.png"), r"0001.png has no image"),
        (_write("sweep00/img/0001.png", "hello"), r"truncated or not an image"),
        (_draw("sweep00/vessel/0001.png", disc(20, 20, 10)[:80]), r"has the shape \(80, 160\)"),
        (_draw("sweep00/vessel/0001.png", 200 * disc(20, 20, 2)), r"is too small"),
        (_draw("sweep14/vessel/0000.png", np.zeros(SHAPE)), r"is empty, but the frame has plaque"),
        (_draw("sweep14/vessel/0000.png", 200 * disc(130, 130, 12)), r"is outside the vessel"),
        (_draw("sweep14/plaque/0000.png", ROWS % 3), r"more than 0 and one other"),
        (_write("sweeps.csv", "sweep,person\nsweep00,1"), r"lacks the column 'patient'"),
        (_write("sweeps.csv", "sweep,patient\nsweep00,1"), r"lists no patient for the sweep sweep01"),
        (_write("sweeps.csv", "sweep,patient\nsweep00,1\nsweep00,2"), r"lists the sweep sweep00 twice"),
        (_link_out, r"leaves the folder"),
    ],
)
def test_bad_files_are_named_and_nothing_is_left(tmp_path: Path, spoil: Callable[[Path], None], words: str) -> None:
    raw = sweeps(tmp_path / "raw")
    spoil(raw)
    with pytest.raises(DataError, match=words):
        prepare(raw, tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if path.name not in ("raw", "elsewhere.png")]


@given(
    st.integers(0, 59), st.integers(0, 49), st.integers(8, 40), st.integers(8, 40), st.integers(0, 2**32), st.booleans()
)
def test_the_window_holds_the_whole_vessel(
    top: int, left: int, height: int, width: int, seed: int, transposed: bool
) -> None:
    vessel = np.zeros((60, 50), bool)
    vessel[top : top + height, left : left + width] = True
    vessel = vessel.T if transposed else vessel
    rows, columns = np.nonzero(vessel)
    longer = max(np.ptp(rows), np.ptp(columns))
    if longer < 8:
        return
    window = Window.round_vessel(vessel, (1.1, 1.5), np.random.default_rng(seed), "v")
    assert 1.1 * longer - 1 <= window.side <= 1.5 * longer + 1
    cut = window.cut(vessel)
    assert cut.shape == (window.side, window.side)
    # a border pixel may fall to the rounding of the window's corner
    assert vessel.sum() - cut.sum() <= 2 * (height + width)


@given(st.sets(st.text(min_size=1), max_size=40), st.integers(0, 2**32))
def test_roles_are_drawn_for_all_and_each_role_gets_one_before_any_gets_two(names: set[str], seed: int) -> None:
    shares = {Role.TEST: 0.7, Role.LABELLED: 0.2, Role.VAL: 0.1}
    found = draw_roles(names, shares, np.random.default_rng(seed))
    assert found.keys() == names
    assert found == draw_roles(sorted(names, reverse=True), shares, np.random.default_rng(seed))
    counts = [list(found.values()).count(role) for role in shares]
    assert counts == sorted(counts, reverse=True)
    assert min(counts) > 0 or max(counts, default=0) <= 1
    assert abs(counts[0] - 0.7 * len(names)) <= 1.5 or len(names) < 4
