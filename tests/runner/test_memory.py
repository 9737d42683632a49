"""Out of memory in prediction: the batch is halved once, with a note, and nothing but rounding changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from optuna.trial import TrialState

from uadbench.core.catalog import METHODS
from uadbench.core.errors import JobFailed
from uadbench.core.roles import Role
from uadbench.core.types import ImageBatch, ImageSpec, Prediction
from uadbench.data.storage.batches import StoreBatches
from uadbench.data.storage.store import Store
from uadbench.inference.fitted import load_fitted
from uadbench.methods.autoencoder.method import Autoencoder
from uadbench.methods.synomaly.method import Synomaly
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor, OutOfMemory, is_out_of_memory
from uadbench.runner.execution.predictions import predict_items
from uadbench.runner.execution.run import execute
from uadbench.runner.execution.seeded import build_seeded
from uadbench.runner.planning.plan import Plan, plan_run
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.testing.fakes import image_generators
from uadbench.testing.images import synthetic_images
from uadbench.tuning.task import StudyTask
from uadbench.tuning.tune import tune

CPU = torch.device("cpu")
# What the allocators of a GPU, of the CPU, of cuDNN and of numpy raise.
FAILURES = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail at CPUAllocator.cpp:68] . DefaultCPUAllocator: not enough memory: you tried"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    MemoryError("Unable to allocate 2.00 GiB for an array"),
]


@METHODS.register("greedy")
class Greedy(Autoencoder):
    """An autoencoder on a device that holds few images."""

    name: ClassVar[str] = "greedy"
    holds: ClassVar[int] = 1000
    failure: ClassVar[Exception] = FAILURES[0]
    shapes: ClassVar[list[int]] = []

    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        Greedy.shapes.append(len(images))
        if len(images) > Greedy.holds:
            raise Greedy.failure
        return super().predict(images, noise)


@pytest.fixture(autouse=True)
def full_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Greedy, "holds", 1000)
    monkeypatch.setattr(Greedy, "failure", FAILURES[0])
    monkeypatch.setattr(Greedy, "shapes", [])


def plan(store: Path) -> Plan:
    return plan_run(method="greedy", train=Store(store), preset="smoke", overrides={"steps": 2})


def untrained() -> tuple[Greedy, ImageBatch]:
    spec = ImageSpec(1, 32, 32)
    torch.manual_seed(0)
    return Greedy.build(Greedy.config_type.resolve("smoke"), spec), synthetic_images(22, spec).images


@pytest.mark.parametrize("failure", FAILURES, ids=lambda error: f"{type(error).__name__}-{str(error)[:8]}")
def test_the_batch_is_halved_once_and_the_numbers_stay(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    method, images = untrained()
    wanted = FixedBatchPredictor(method, 0, 16, CPU)(images)
    said: list[str] = []
    monkeypatch.setattr(Greedy, "holds", 8)
    monkeypatch.setattr(Greedy, "failure", failure)
    Greedy.shapes.clear()
    predict = FixedBatchPredictor(method, 0, 16, CPU, said.append)
    found = predict(images)
    assert Greedy.shapes == [16, 8, 8, 8]
    assert said == predict.notes == ["Out of memory: predict_batch 16 was halved to 8."]
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours is not None
        assert theirs is not None
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    predict(images)
    assert Greedy.shapes[4:] == [8, 8, 8], "it stays at the batch that fits"


def test_a_second_time_is_a_failure_that_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    method, images = untrained()
    monkeypatch.setattr(Greedy, "holds", 3)
    with pytest.raises(JobFailed, match=r"batch of 8, which was already halved\. Use --set predict_batch=4 or less"):
        FixedBatchPredictor(method, 0, 16, CPU)(images)
    assert Greedy.shapes == [16, 8]


def test_one_image_that_does_not_fit_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    method, images = untrained()
    monkeypatch.setattr(Greedy, "holds", 0)
    with pytest.raises(OutOfMemory, match="A single image needs more"):
        FixedBatchPredictor(method, 0, 1, CPU)(images)
    with pytest.raises(OutOfMemory, match="A single image needs more"):
        FixedBatchPredictor(method, 0, 2, CPU)(images)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("no memory")])
def test_other_errors_are_not_taken_for_it(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_out_of_memory(error)
    method, images = untrained()
    monkeypatch.setattr(Greedy, "holds", 8)
    monkeypatch.setattr(Greedy, "failure", error)
    with pytest.raises(type(error)):
        FixedBatchPredictor(method, 0, 16, CPU)(images)
    assert Greedy.shapes == [16]


def test_the_words_are_those_of_torch() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)


def test_a_run_goes_on_and_its_record_tells(tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _, _ = execute(plan(tiny_store), root=tmp_path / "whole", device="cpu")
    monkeypatch.setattr(Greedy, "holds", 8)
    halved, path, _ = execute(plan(tiny_store), root=tmp_path / "halved", device="cpu")
    assert whole.env.notes == []
    assert halved.env.notes == ["Out of memory: predict_batch 16 was halved to 8."]
    assert halved.id == whole.id
    assert Greedy.shapes.count(16) > 1
    assert halved.metrics["case_ap"].value == pytest.approx(whole.metrics["case_ap"].value, abs=0.002)
    for part in ("calib", "test", "synthetic", "val"):
        ours, theirs = (
            np.load(tmp_path / name / whole.id / "maps" / part / "maps.npy") for name in ("halved", "whole")
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    # uadbench predict: the same predictor, one halving for all inputs
    fitted = load_fitted(path, "cpu")
    fitted.predict(untrained()[1])
    assert fitted.predict.notes == halved.env.notes


@pytest.mark.parametrize("name", ["greedy", "synomaly"])
def test_every_image_has_its_own_map_where_the_batch_was_halved_on_the_way(
    name: str, tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, spec = Store(tiny_store), ImageSpec(1, 32, 32)
    batches = StoreBatches(store, store.role(Role.TEST), spec)
    assert len(batches) > 9
    kind = METHODS.load(name)
    method = build_seeded(name, kind.config_type.resolve("smoke"), spec, 0)
    predict_items(FixedBatchPredictor(method, 0, 4, CPU), batches, tmp_path / "whole", lambda _: None)
    calls: list[int] = []

    def full(network: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        calls.append(len(inputs[0]))
        if len(inputs[0]) > 2 and len(calls) > 1:  # memory runs out after the first batch
            raise FAILURES[0]

    assert isinstance(method, torch.nn.Module)
    next(child for child in method.children() if list(child.parameters())).register_forward_pre_hook(full)
    done: list[int] = []
    predict_items(FixedBatchPredictor(method, 0, 4, CPU), batches, tmp_path / "halved", done.append)
    assert sum(done) == len(batches)
    ours, theirs = (np.load(tmp_path / run / "maps.npy") for run in ("halved", "whole"))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_run_that_cannot_go_on_is_recorded_as_failed(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Greedy, "holds", 2)
    with pytest.raises(JobFailed, match="--set predict_batch=4"):
        execute(plan(tiny_store), root=tmp_path, device="cpu")
    record = RunFolder(tmp_path / plan(tiny_store).job.id).record()
    assert record is not None
    assert record.status == "failed"
    assert "--set predict_batch=4" in record.reason


@pytest.mark.parametrize(("holds", "with_time"), [(8, False), (8, True), (2, False)])
def test_a_trial_of_a_study_goes_on_or_says_why_not(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holds: int, with_time: bool
) -> None:
    whole = Autoencoder.predict

    def limited(self: Autoencoder, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        if len(images) > holds:
            raise FAILURES[0]
        return whole(self, images, noise)

    monkeypatch.setattr(Autoencoder, "predict", limited)
    said: list[str] = []
    task = StudyTask(
        method="autoencoder",
        dataset="carotid_us",
        store=tiny_store,
        preset="smoke",
        name="study",
        storage=f"sqlite:///{tmp_path}/s.db",
        trials=1,
        folder=tmp_path,
        device="cpu",
        pruner="none",
        with_time=with_time,
    )
    trial = tune(task, tmp_path / "tuned", said.append).outcome.trials[0]
    assert said[0] == "Out of memory: predict_batch 16 was halved to 8."
    if holds == 8:
        assert trial.state == TrialState.COMPLETE
        assert "trial 1 of 1: ap" in said[1]
    else:
        assert trial.state == TrialState.FAIL
        assert "out of memory with 1 workers" in trial.user_attrs["reason"]


def test_later_stages_of_synomaly_never_take_more_than_the_batch() -> None:
    spec = ImageSpec(1, 32, 32)
    config = Synomaly.config_type.resolve("smoke", overrides={"adaptive": False, "stages": 2})
    method = Synomaly.build(config, spec)
    sizes: list[int] = []

    def note(network: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        sizes.append(len(inputs[0]))

    method.denoiser.register_forward_pre_hook(note)
    images = synthetic_images(4, spec).images
    method.predict(images, image_generators(images))
    assert sizes == [4, 4]


def test_a_stream_goes_on_with_half_the_batch_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ImageSpec(1, 32, 32)
    method = Synomaly.build(Synomaly.config_type.resolve("smoke"), spec)
    images = synthetic_images(11, spec, lesions=True).images
    batches = [images.select(range(at, min(at + 4, 11))) for at in range(0, 11, 4)]
    wanted = list(FixedBatchPredictor(method, 0, 4, CPU).stream(batches))
    calls: list[int] = []

    def greedy(network: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        calls.append(len(inputs[0]))
        if len(inputs[0]) > 2 and len(calls) > 1:  # memory runs out on the way
            raise torch.OutOfMemoryError("CUDA out of memory.")

    method.denoiser.register_forward_pre_hook(greedy)
    predict = FixedBatchPredictor(method, 0, 4, CPU)
    found = list(predict.stream(iter(batches)))
    assert predict.notes == ["Out of memory: predict_batch 4 was halved to 2."]
    assert set(calls[2:]) == {2}
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-3, atol=1e-4)
