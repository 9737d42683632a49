"""The CUDA paths without a GPU: one training step and one prediction of each method on fake tensors.

Fake tensors have a shape and a device but no values, and an operation on tensors of two devices is an error. What
follows values cannot run on them, so these lines stay unchecked here (``make gpu-test`` runs them on a device):

- the backward pass, which asks for a real context of CUDA: gradients of the parameters' shape and device stand in for
  it, so that clipping and the optimiser's step are checked;
- ``initialise`` and moving a module: the weights are made on the fake device and stay there;
- ``nn.score.top_mean``, ``feature_map.peak`` and the scores of ``patchcore``: they pick the pixels of a body;
- in ``synomaly``, the adaptive stop and the dropping of small components; its training noise (and that of ``ddpm`` with
  coarse or pyramid noise, of ``dae`` and of ``anoddpm``) draws numbers that become Python values or numpy arrays on the
  CPU, so white noise stands in for it; the blobs of Synomaly noise are checked on their own;
- ``equalized`` (ranks of the pixels of a body), and the statistics of ``intensity`` without a polarity.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorDeviceMismatchError

from tests.support.fake_cuda import CHECKED, SPEC, build, fake_cuda, keep_on_the_device
from uadbench.core.types import ImageBatch, TrainBatch
from uadbench.diffusion import noises
from uadbench.diffusion.samplers import ancestral, ddim
from uadbench.diffusion.schedules import Schedule
from uadbench.testing.fakes import LocalFitContext

LEARNING = [name for name in CHECKED if name not in {"intensity", "random", "position", "mean_residual"}]


def batch_of(count: int, device: str) -> TrainBatch:
    images = ImageBatch(
        tuple(str(row) for row in range(count)),
        torch.zeros(count, 1, 32, 32, device=device),
        torch.ones(count, 1, 32, 32, dtype=torch.bool, device=device),
    )
    return TrainBatch(images, torch.ones(count, 1, 32, 32, dtype=torch.bool, device=device))


@pytest.fixture
def on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_on_the_device(monkeypatch)


class FakeBatches:
    """Batches on the CPU, as the runner lends them."""

    spec = SPEC

    def __len__(self) -> int:
        return 8

    def sample(self, batch_size: int, generator: torch.Generator) -> TrainBatch:
        return batch_of(batch_size, "cpu")

    def epoch(self, batch_size: int) -> Iterator[TrainBatch]:
        yield batch_of(8, "cpu")


class OneStep(LocalFitContext):
    """A fit of one step per phase that looks at no value."""

    def __init__(self) -> None:
        super().__init__(device="cuda")
        self.phases: list[str] = []
        self.parts: list[nn.Module] = []

    def resume(self, phase: str, **parts: Any) -> int:
        self.parts += [part for part in parts.values() if isinstance(part, nn.Module)]
        return 0

    def backward(self, loss: Tensor) -> None:
        assert loss.device.type == "cuda"
        for parameter in (parameter for part in self.parts for parameter in part.parameters()):
            parameter.grad = torch.zeros_like(parameter)

    def steps(self, phase: str, start: int, total: int) -> Iterator[int]:
        self.phases.append(phase)
        yield start

    def report(self, step: int, **scalars: float) -> None:
        pass

    def checkpoint(self, phase: str, step: int, **parts: Any) -> None:
        pass


def gradient(value: Tensor, of: Tensor, **_: Any) -> tuple[Tensor]:
    assert value.device == of.device
    return (torch.zeros_like(of),)


def same(x: Tensor, _: Tensor) -> Tensor:
    return x


@pytest.mark.usefixtures("on_the_device")
@pytest.mark.parametrize("name", LEARNING)
def test_a_training_step_meets_no_tensor_of_another_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = OneStep()

    def backward(loss: Tensor) -> None:
        run.backward(loss)

    monkeypatch.setattr(Tensor, "backward", backward)
    monkeypatch.setattr(torch.autograd, "grad", gradient)
    with fake_cuda():
        build(name).fit(FakeBatches(), FakeBatches(), run, FakeBatches())
    assert run.phases


@pytest.mark.usefixtures("on_the_device")
@pytest.mark.parametrize("name", CHECKED)
def test_a_prediction_meets_no_tensor_of_another_device(name: str) -> None:
    with fake_cuda(), torch.no_grad():
        prediction = build(name).predict(batch_of(2, "cuda").images, [torch.Generator() for _ in range(2)])
    assert prediction.anomaly_map.device.type == "cuda"
    assert prediction.anomaly_map.shape == (2, 1, 32, 32)


@pytest.mark.usefixtures("on_the_device")
@pytest.mark.parametrize(("name", "error"), [("ddpm", FakeTensorDeviceMismatchError), ("vae", RuntimeError)])
def test_a_planted_mix_up_is_found(name: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that forgets to move its batch; a convolution names the devices in a RuntimeError of its own."""

    def forget(batch: TrainBatch, _: torch.device) -> TrainBatch:
        return batch

    monkeypatch.setattr(TrainBatch, "to", forget)
    with fake_cuda(), pytest.raises(error, match="cuda:0"):
        build(name).fit(FakeBatches(), FakeBatches(), OneStep(), FakeBatches())


def test_white_noise_blobs_and_chains_stay_on_the_device() -> None:
    schedule = Schedule.make("cosine")
    with fake_cuda():
        image, t = torch.zeros(2, 1, 32, 32, device="cuda"), torch.zeros(2, dtype=torch.long, device="cuda")
        generators = [torch.Generator() for _ in range(2)]
        white = noises.Gaussian()

        def draw(like: Tensor, step: int) -> Tensor:
            return white(like, generators, t)

        found = {
            "white": draw(image, 0),
            "blobs": noises.Synomaly(roi="disc").blobs(image.clone()),
            "ddim": ddim(same, schedule, image, 100, 3),
            "ancestral": ancestral(same, schedule, image, 100, draw, 3),
            "bound": schedule.posterior(image, image, t)[0],
        }
    assert {name: value.device.type for name, value in found.items()} == dict.fromkeys(found, "cuda")


def test_the_rule_itself_finds_tensors_of_two_devices() -> None:
    with fake_cuda(), pytest.raises(FakeTensorDeviceMismatchError):
        _ = torch.zeros(2, device="cuda") + torch.zeros(2, device="cpu")
