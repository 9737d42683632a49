"""Brain MRI: tiny raw data in the exact naming of each public release, read by the real loader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.brain_data import SHAPE, atlas, brats21, brats23, head, ixi, pddpm, save
from uadbench.cli import main
from uadbench.core.errors import DataError, UnknownName
from uadbench.core.roles import Role
from uadbench.data.storage.batches import resize_mask
from uadbench.data.storage.checks import check_store
from uadbench.data.storage.store import Store
from uadbench.datasets.brain_mri import BrainMri
from uadbench.datasets.brain_mri import cases as cases_module


def quiet(done: int, total: int, what: str) -> None:
    pass


def prepare(source: Path, out: Path, modality: str | None = None, recipe: str = "strict", workers: int = 1) -> Store:
    BrainMri(modality).prepare(source, out, recipe, workers, quiet)  # pyright: ignore[reportArgumentType]
    return Store(out)


def roles_of(store: Store) -> dict[str, Role]:
    return {item.patient: item.role for item in store.items}


def test_brats21_alone_trains_on_its_own_healthy_slices(tmp_path: Path) -> None:
    store = prepare(brats21(tmp_path / "raw", 20), tmp_path / "out", "flair")
    assert {Role.TRAIN, Role.TEST} <= set(roles_of(store).values())
    assert all(item.kind == "lesion-patient" for item in store.items if item.role in (Role.TRAIN, Role.CALIB))
    assert all(item.kind == "tumour" for item in store.items if item.lesion)
    assert any("learnt as normal" in note for note in store.manifest.notes)
    lesion = next(item for item in store.items if item.lesion)
    rows, columns = np.nonzero(store.mask(lesion) == 1)
    # stored LPS: the lesion on the patient's right and in front must still come out left and on top
    assert rows.mean() < SHAPE[1] / 2
    assert columns.mean() < SHAPE[0] / 2


def test_a_patients_role_does_not_depend_on_the_others(tmp_path: Path) -> None:
    many = roles_of(prepare(brats21(tmp_path / "many", 14), tmp_path / "a", "t2"))
    few = roles_of(prepare(brats21(tmp_path / "few", 7), tmp_path / "b", "t2"))
    assert few == {patient: many[patient] for patient in few}


def test_time_points_of_one_patient_share_a_role(tmp_path: Path) -> None:
    store = prepare(brats23(tmp_path / "raw"), tmp_path / "out")
    assert len(roles_of(store)) == 6
    assert len({item.case for item in store.items}) == 12


def test_ixi_beside_brats_is_the_healthy_cohort(tmp_path: Path) -> None:
    ixi(tmp_path / "raw/IXI-T2", 24)
    brats21(tmp_path / "raw/BraTS")
    with pytest.raises(DataError, match="ixi has no flair here, only t2"):
        prepare(tmp_path / "raw", tmp_path / "out", "flair")
    store = prepare(tmp_path / "raw", tmp_path / "out")
    cohorts = {role: {item.cohort for item in store.role(role)} for role in Role}
    assert cohorts[Role.TRAIN] == {"ixi"}
    assert cohorts[Role.CALIB] <= {"ixi"}
    assert "brats21" in cohorts[Role.TEST]
    assert store.manifest.notes == ["Modality t2."]
    assert not any(item.lesion for item in store.items if item.cohort == "ixi")
    # outside of the brain mask there is nothing, though the raw image has a skull
    item = store.role(Role.TRAIN)[0]
    assert (store.image(item)[0][~store.body(item)] == -1).all()


def test_atlas_is_tested_on_only(tmp_path: Path) -> None:
    store = prepare(atlas(tmp_path / "raw"), tmp_path / "out")
    assert set(roles_of(store).values()) == {Role.TEST}
    assert (store.manifest.polarity, store.manifest.ranked) == (-1, False)
    assert {item.kind for item in store.items if item.lesion} == {"stroke"}


def test_pddpm_takes_its_own_splits(tmp_path: Path) -> None:
    store = prepare(pddpm(tmp_path / "raw"), tmp_path / "out")
    counts = {role: len({item.patient for item in store.role(role)}) for role in Role}
    assert counts == {Role.TRAIN: 2, Role.CALIB: 1, Role.LABELLED: 0, Role.VAL: 1, Role.TEST: 3}
    assert {item.cohort for item in store.role(Role.TEST)} == {"ixi", "brats21"}
    assert store.manifest.ranked


def test_pddpm_split_that_names_what_is_not_there(tmp_path: Path) -> None:
    root = pddpm(tmp_path / "raw")
    (root / "splits/IXI_test.csv").write_text("img_path\n/Train/ixi/t2/IXI999-Guys-0001-T2.nii.gz")
    with pytest.raises(DataError, match="lists IXI999"):
        prepare(root, tmp_path / "out")


def test_paper_recipe(tmp_path: Path) -> None:
    store = prepare(brats21(tmp_path / "raw", 20, depth=155), tmp_path / "out", "flair", "paper")
    assert {item.index for item in store.items} <= set(range(80, 100))
    assert all(item.lesion for item in store.items if item.role not in (Role.TRAIN, Role.CALIB))
    assert not any(item.lesion for item in store.role(Role.TRAIN))
    assert not store.manifest.ranked
    image = store.image(store.role(Role.TEST)[0])
    assert (float(image.min()), float(image.max())) == (-1, 1)


def test_paper_recipe_draws_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uadbench.datasets.brain_mri.selection.PAPER_ANOMALOUS", 5)
    store = prepare(brats21(tmp_path / "raw", 12, depth=155), tmp_path / "out", "flair", "paper")
    assert len(store.role(Role.TEST)) == 5


def test_paper_recipe_is_for_brats(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="atlas has no recipe 'paper'"):
        prepare(atlas(tmp_path / "raw"), tmp_path / "out", recipe="paper")


def test_strict_scale_does_not_feel_the_lesion(tmp_path: Path) -> None:
    """A lesion of 5 % of the body moves the scale of everything else by at most 1 %; per-slice min-max gives way."""
    shift = {}
    for recipe in ("strict", "paper"):
        image, _ = head(0, 155)
        with_lesion = image.copy()
        inside = np.argwhere(image > 0)
        # 5 % of the body, one compact block of its front
        block = inside[np.argsort(inside[:, 1])[-len(inside) // 20 :]]
        with_lesion[tuple(block.T)] = 300
        outside = np.ones(image.shape, bool)
        outside[tuple(block.T)] = False
        values = []
        for name, data in (("healthy", image), ("lesion", with_lesion)):
            save(tmp_path / f"{name}.nii.gz", data)
            case = cases_module.Case("a", "a", Role.TEST, tmp_path / f"{name}.nii.gz", recipe=recipe)
            slices = cases_module.convert(case)
            planes = [np.rot90(outside[..., z], 1)[:, ::-1] for z in slices.index]
            rest = np.stack([resize_mask(plane, slices.body.shape[1:])[0, 0].numpy() for plane in planes])
            values.append((slices.image[:, 0][slices.body & rest] + 1).mean())
        shift[recipe] = abs(values[1] / values[0] - 1)
    assert shift["strict"] <= 0.01
    assert shift["paper"] > 0.1


@pytest.mark.parametrize("damage", ["label", "no seg", "twice", "linked seg", "no skull strip"])
def test_bad_release_is_named(tmp_path: Path, damage: str) -> None:
    raw = brats21(tmp_path / "raw", 2)
    folder = raw / "BraTS2021_00001"
    seg = folder / "BraTS2021_00001_seg.nii.gz"
    image, label = head(1)
    if damage == "label":
        save(seg, np.where(label == 2, 3, label).astype(np.uint8))
        message = "_seg.nii.gz holds the label 3; brats21 has"
    elif damage == "no seg":
        seg.unlink()
        message = "has no partner BraTS2021_00001_seg"
    elif damage == "twice":
        save(raw / "copy" / "BraTS2021_00001_flair.nii.gz", image)
        message = "are the same case"
    elif damage == "linked seg":
        seg.rename(tmp_path / "elsewhere.nii.gz")
        seg.symlink_to(tmp_path / "elsewhere.nii.gz")
        message = "leaves the folder"
    else:
        save(folder / "BraTS2021_00001_flair.nii.gz", image + 20)
        message = "no empty background"
    with pytest.raises(DataError, match=message):
        prepare(raw, tmp_path / "out", "flair")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "out"))] == []


def test_unknown_modality(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"Unknown modality 'flare'.*Did you mean flair"):
        prepare(brats21(tmp_path / "raw", 1), tmp_path / "out", "flare")


def test_duplicate_across_roles_ends_with_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = brats21(tmp_path / "raw", 12)
    clean = prepare(raw, tmp_path / "clean", "t2")
    check_store(clean)  # different people are not duplicates
    roles = roles_of(clean)
    train = next(name for name, role in roles.items() if role == Role.TRAIN)
    test = next(name for name, role in roles.items() if role == Role.TEST)
    for what in ("t2", "seg"):
        data = (raw / train / f"{train}_{what}.nii.gz").read_bytes()
        (raw / test / f"{test}_{what}.nii.gz").write_bytes(data)
    command = ["uadbench", "prepare", "brain_mri", "--source", str(raw), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", [*command, "--modality", "t2"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "near-duplicates" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_option_that_the_dataset_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["uadbench", "prepare", "brain_mri", "--source", str(tmp_path), "--out", str(tmp_path / "out")]
    (tmp_path / "any.nii.gz").write_bytes(b"")
    monkeypatch.setattr("sys.argv", [*command, "--set", "modalty=t2"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "Unknown option of brain_mri 'modalty'. Did you mean modality?" in capsys.readouterr().err
