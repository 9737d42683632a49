"""What a GPU must do: run with ``make gpu-test`` on a machine with CUDA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.shipped import METHOD_NAMES
from uadbench.core.catalog import METHODS
from uadbench.core.numerics import Numerics
from uadbench.core.types import Prediction
from uadbench.testing.fakes import Interrupted, LocalFitContext, image_generators
from uadbench.testing.method_subject import MethodSubject

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

TOLERANCE = 0.02  # ||a - b|| / ||b|| of maps of the same weights on two devices
BF16_TOLERANCE = 0.1


def fitted(name: str) -> tuple[MethodSubject, Any]:
    subject = MethodSubject(METHODS.load(name), 0)
    return subject, subject.fit(LocalFitContext(0, device="cuda"))


def predict_on(method: Any, subject: MethodSubject, device: str) -> Prediction:
    images = subject.images.to(device)
    with torch.no_grad():
        return method.to(torch.device(device)).predict(images, image_generators(images))


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours.cpu() - theirs.cpu()).norm() / theirs.cpu().norm())


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_training_and_prediction_run_and_cpu_and_gpu_agree(name: str) -> None:
    subject, method = fitted(name)
    there = predict_on(method, subject, "cuda")
    assert there.anomaly_map.device.type == "cuda"
    here = predict_on(method, subject, "cpu")
    assert relative(there.anomaly_map, here.anomaly_map) < TOLERANCE
    back = predict_on(method, subject, "cuda")
    assert relative(back.anomaly_map, there.anomaly_map) < 1e-3


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_weights_of_the_cpu_load_on_the_gpu_and_back(name: str) -> None:
    subject = MethodSubject(METHODS.load(name), 0)
    method: Any = subject.reference[0]
    state = {key: value.clone() for key, value in method.state_dict().items()}
    other: Any = subject.build().to(torch.device("cuda"))
    other.load_state_dict(state)
    assert all(value.device.type == "cuda" for value in other.state_dict().values())
    back = other.to(torch.device("cpu")).state_dict()
    assert all(torch.equal(value, back[key]) for key, value in state.items())


@pytest.mark.parametrize("name", ["anoddpm", "autoddpm", "dae", "ddpm", "synomaly"])
def test_bfloat16_agrees_with_float32(name: str) -> None:
    subject, method = fitted(name)
    plain = predict_on(method, subject, "cuda").anomaly_map
    method.denoiser.set_numerics(Numerics("bf16", "channels_last"))
    fast = predict_on(method, subject, "cuda").anomaly_map
    assert 0 < relative(fast, plain) < BF16_TOLERANCE


@pytest.mark.parametrize("name", ["autoencoder", "ddpm"])
def test_a_fit_resumes_on_the_device(name: str, tmp_path: Path) -> None:
    subject = MethodSubject(METHODS.load(name), 0)
    whole: Any = subject.fit(LocalFitContext(0, device="cuda"))
    with pytest.raises(Interrupted):
        subject.fit(LocalFitContext(0, device="cuda", folder=tmp_path, interrupt_after=3))
    resumed: Any = subject.fit(LocalFitContext(0, device="cuda", folder=tmp_path))
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[key], value, rtol=1e-3, atol=1e-4)
