"""The objective of a study on fake CUDA tensors: what a trial predicts, shares and is pruned by stays on one device.

Fake tensors hold no values. So maps that come back to the host are taken as zeros once they are seen to come from the
device, network calls are told apart by their number instead of their bytes, and judging works on real arrays (their
resampling on the host is left out).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorDeviceMismatchError

from tests.support.fake_cuda import CHECKED, SPEC, build, fake_cuda, keep_on_the_device
from uadbench.core.catalog import METHODS
from uadbench.core.roles import Role
from uadbench.core.types import ImageBatch, Prediction
from uadbench.data.storage.store import Store
from uadbench.runner.execution import fixed_batch
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor, Predicted
from uadbench.tuning import judge as judging
from uadbench.tuning import shared
from uadbench.tuning.book import MILESTONES
from uadbench.tuning.fits import Watchdog
from uadbench.tuning.judge import Images, judge
from uadbench.tuning.shared import SharedCalls
from uadbench.tuning.task import StudyTask

CUDA = torch.device("cuda")
BATCH = 4
NETWORKS = ("autoencoder", "ddpm", "rd4ad", "unet", "vae")


class Report(optuna.trial.FixedTrial):
    """A trial that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__({})
        self.told: list[tuple[float, int]] = []

    def report(self, value: float, step: int) -> None:
        self.told.append((value, step))


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each batch brought back from the device."""
    keep_on_the_device(monkeypatch)
    counts: list[int] = []

    def on_host(prediction: Prediction, images: ImageBatch) -> Predicted:
        assert prediction.anomaly_map.device.type == prediction.score.device.type == "cuda"
        assert prediction.anomaly_map.shape == (BATCH, 1, SPEC.height, SPEC.width)
        counts.append(len(images))
        return np.zeros((len(images), SPEC.height, SPEC.width), np.float32), np.zeros(len(images), np.float32), None

    def number(name: str, _: object) -> bytes:
        counts.append(0)
        return f"{name}{len(counts)}".encode()

    def native(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        return np.zeros((len(maps), *size), np.float32)

    monkeypatch.setattr(fixed_batch, "on_host", on_host)
    monkeypatch.setattr(judging, "to_native", native)
    monkeypatch.setattr(shared, "_key", number)
    return counts


@pytest.fixture(scope="module")
def images(tiny_store: Path) -> dict[str, Images]:
    store = Store(tiny_store)
    return {
        "lesions": Images(store, store.role(Role.TEST), SPEC),
        "healthy": Images(store, store.role(Role.CALIB), SPEC),
    }


@pytest.mark.parametrize("name", CHECKED)
def test_a_trial_meets_no_tensor_of_another_device(name: str, images: dict[str, Images], copied: list[int]) -> None:
    with fake_cuda():
        method = build(name)
        calls = SharedCalls()
        calls.attach(method)
        predict = FixedBatchPredictor(method, 0, BATCH, CUDA)
        found = judge(images["lesions"].predict(predict), images["healthy"].predict(predict))
    assert sum(copied) == len(images["lesions"]) + len(images["healthy"])
    assert set(found.ap) == set(found.dice)
    assert calls.asked == calls.computed
    if name in NETWORKS:
        assert calls.asked > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_pruning_looks_on_the_device_of_the_fit(
    name: str, images: dict[str, Images], copied: list[int], tmp_path: Path
) -> None:
    trial = Report()
    task = StudyTask(
        method=name,
        dataset="carotid_us",
        store=tmp_path,
        preset="smoke",
        name="study",
        storage=f"sqlite:///{tmp_path}/s.db",
        trials=1,
        folder=tmp_path,
        device="cuda",
    )
    config = METHODS.load(name).config_type.resolve("smoke", overrides={"predict_batch": BATCH})
    with fake_cuda():
        watch = Watchdog(trial, build(name), images["lesions"], config, task)  # pyright: ignore[reportArgumentType]
        watch(0, 4, 4 * MILESTONES)
    assert [step for _, step in trial.told] == [1]
    assert sum(copied) == len(images["lesions"])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_planted_mix_up_is_found(
    name: str, images: dict[str, Images], copied: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A predictor that forgets to move its batch; a convolution names the devices in a RuntimeError of its own."""

    def forget(batch: ImageBatch, _: torch.device) -> ImageBatch:
        return batch

    monkeypatch.setattr(ImageBatch, "to", forget)
    with fake_cuda(), pytest.raises((FakeTensorDeviceMismatchError, RuntimeError), match="cuda"):
        images["lesions"].predict(FixedBatchPredictor(build(name), 0, BATCH, CUDA))
    assert copied == []
