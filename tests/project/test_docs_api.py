"""The Python interface: what a notebook reads is what the run stored, and scikit-learn's names mean what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import uadbench
from uadbench.core.errors import DataError, UserError
from uadbench.core.types import ImageSpec
from uadbench.testing.images import synthetic_images


@pytest.fixture(scope="module")
def done(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[uadbench.Record, Path]:
    out = tmp_path_factory.mktemp("runs")
    run = uadbench.run("autoencoder", "carotid_us", source=str(tiny_store), preset="smoke", out=out, device="cpu")
    assert run.path == out / run.record.id
    return run.record, run.path


def test_a_run_is_read_back(done: tuple[uadbench.Record, Path]) -> None:
    record, folder = done
    assert uadbench.load_record(folder) == record
    cases = uadbench.load_cases(folder)
    assert len(cases) == 36
    maps = uadbench.load_maps(folder)
    assert maps.maps.shape[0] == len(maps.uids) == 36
    assert maps.reconstructions is not None
    assert set(maps.uids) == set(cases["case"])
    frame = uadbench.to_dataframe([record])
    value = frame.set_index("metric")["value"]["case_ap"]
    assert value == record.metrics["case_ap"].value
    with pytest.raises(DataError):
        uadbench.load_maps(folder, "train")
    with pytest.raises(DataError):
        uadbench.load_record(folder.parent)


def test_a_run_shows_its_cases_maps_and_pictures(done: tuple[uadbench.Record, Path], tiny_store: Path) -> None:
    record, folder = done
    run = uadbench.load_run(folder, {"carotid_us": tiny_store})
    assert run.record == record
    assert repr(run).count("\n") == 0
    assert "autoencoder on carotid_us" in repr(run)
    assert "Case AP" in run._repr_html_()  # pyright: ignore[reportPrivateUsage]
    assert len(run.cases) == len(run.maps) == 36
    name = run.cases[run.cases["lesion"]]["case"].iloc[0]
    case = run.maps[name]
    assert case.image is not None
    assert case.truth is not None
    assert case.reconstruction is not None
    assert case.image.shape == case.truth.shape == case.map.shape == case.reconstruction.shape
    assert case.truth.any()
    with pytest.raises(KeyError, match="no test case 'nobody'"):
        run.maps["nobody"]
    picture = run.plot()
    assert len(picture.axes) == 20
    assert picture._repr_png_().startswith(b"\x89PNG")  # pyright: ignore[reportPrivateUsage]
    assert [found.path for found in uadbench.runs(folder.parent)] == [folder]
    with pytest.raises(UserError, match="There is no folder"):
        uadbench.runs(folder / "nothing")
    with pytest.raises(DataError, match="not a finished run"):
        uadbench.load_run(folder.parent)


def test_tables_of_anything(done: tuple[uadbench.Record, Path], tiny_store: Path) -> None:
    record, folder = done
    run = uadbench.load_run(folder)
    for what in (record, run, [record], [run]):
        frame = uadbench.to_dataframe(what)
        assert set(frame["id"]) == {record.id}
    images = uadbench.to_dataframe(uadbench.load_dataset("carotid_us", str(tiny_store)))
    assert {"train", "calib", "test"} <= set(images["role"].astype(str))
    board = uadbench.leaderboard(folder.parent)
    assert board["method"].tolist() == ["autoencoder"]
    assert board["unranked_because"].tolist() != [""]
    for wrong in (3, "text", [3]):
        with pytest.raises(UserError, match="Give a Record, a Run"):
            uadbench.to_dataframe(wrong)  # type: ignore[arg-type]


def test_the_package_shows_its_interface_and_nothing_else() -> None:
    assert dir(uadbench) == sorted([*uadbench.__all__, "__version__"])
    assert all(getattr(uadbench, name) is not None for name in dir(uadbench))


def test_a_loaded_method_predicts_what_the_run_stored(done: tuple[uadbench.Record, Path], tiny_store: Path) -> None:
    method = uadbench.load_method(done[1])
    store = uadbench.load_dataset("carotid_us", str(tiny_store))
    maps = uadbench.load_maps(done[1]).maps
    size = maps.shape[-1]
    batch = next(uadbench.load_images(store, "test", size).epoch(16))
    assert batch.mask is None
    assert np.array_equal(method.predict(batch.images, []).anomaly_map[:, 0].detach().numpy(), maps[:16])
    with pytest.raises(DataError, match="no role"):
        uadbench.load_images(store, "tests")


def test_predict_returns_the_table(done: tuple[uadbench.Record, Path], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)).save(tmp_path / "in/a.png")
    table = uadbench.predict(done[1], tmp_path / "in", tmp_path / "out")
    assert table["input"].tolist() == ["a"]
    (tmp_path / "in/b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"b\.png"):
        uadbench.predict(done[1], tmp_path / "in", tmp_path / "out")


def images(count: int, *, lesions: bool = False) -> np.ndarray:
    spec = ImageSpec(1, 32, 32)
    part = "lesions" if lesions else "healthy"
    return synthetic_images(count, spec, part=part, lesions=lesions).images.image[:, 0].numpy()


def test_a_detector_keeps_scikit_learns_promises() -> None:
    detector = uadbench.Detector("mean_residual", preset="smoke", contamination=0.1, device="cpu")
    twin: Any = clone(detector)
    assert twin.get_params() == detector.get_params()
    healthy, ill = images(40), images(10, lesions=True)
    assert detector.fit(healthy) is detector
    assert detector.score_samples(ill).mean() < detector.score_samples(healthy).mean()
    assert np.array_equal(detector.predict(ill) == -1, detector.decision_function(ill) < 0)
    assert detector.anomaly_maps(ill).shape == ill.shape
    alone = detector.score_samples(ill[3:4])
    assert np.array_equal(alone, detector.score_samples(ill)[3:4])
    copy: Any = clone(detector)
    again = copy.fit(healthy)
    assert np.array_equal(again.score_samples(ill), detector.score_samples(ill))
    assert detector.fit_predict(healthy).shape == (40,)


def test_a_detector_refuses_what_it_cannot_use() -> None:
    detector = uadbench.Detector("mean_residual", preset="smoke", device="cpu")
    with pytest.raises(NotFittedError):
        detector.predict(images(1))
    with pytest.raises(ValueError, match="minimum of 10 is required"):
        detector.fit(images(3))
    with pytest.raises(UserError, match=r"\[-1, 1\]"):
        detector.fit(images(12) * 255)
    with pytest.raises(UserError, match="masks"):
        uadbench.Detector("unet", preset="smoke").fit(images(12))
    with pytest.raises(UserError, match="channels"):
        detector.fit(images(12)).predict(np.zeros((2, 3, 32, 32)))
