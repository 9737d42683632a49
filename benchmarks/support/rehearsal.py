"""A GPU that is not there: fake CUDA tensors, on which a script for a real one is tried before a short visit to it.

Fake tensors have a shape, a type and a device but no values; an operation on tensors of two devices is an error. What
follows values, or asks for a real context of CUDA, is replaced while a rehearsal lasts:

- moving modules (weights are made on the fake device and stay there), and with it casting and laying them out;
- autocast, which torch turns off without CUDA: everything is rehearsed in float32;
- noises that draw numbers on the host and look at them: white noise stands in for them;
- the score of an image, which picks the pixels of its body;
- the backward pass: zeros of the parameters' shape and device stand in for gradients.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from benchmarks.support.device_bench import Bench
from uadbench.diffusion import noises
from uadbench.diffusion.simplex import Simplex
from uadbench.methods.synomaly import method as synomaly


@contextmanager
def fake_cuda() -> Generator[None]:
    """While the block lasts, tensors are fake, and may be made on the device "cuda"."""
    with FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True):
        yield


def top(anomaly_map: Tensor, body: Tensor, *_: float, **__: float) -> Tensor:
    """Stands in for the mean of the highest values of a body."""
    return (anomaly_map * body).flatten(1).amax(1)


def stay(module: nn.Module, *_: Any, **__: Any) -> nn.Module:
    """Stands in for moving a module."""
    return module


class Rehearsal(Bench):
    """Makes each call once on fake CUDA tensors, and shows the names of what would be measured instead of figures."""

    rehearsed = True

    def __init__(self) -> None:
        super().__init__(torch.device("cuda"), 1)
        self._parameters: list[nn.Parameter] = []

    @contextmanager
    def on_device(self) -> Generator[None]:
        """While the block lasts, modules and tensors are made on the fake device."""

        def backward(loss: Tensor) -> None:
            assert loss.device.type == "cuda"
            for parameter in self._parameters:
                parameter.grad = torch.zeros_like(parameter)

        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            for told in ("CUDA is not available", "Accessing the data pointer of FakeTensor"):
                warnings.filterwarnings("ignore", told)
            stack.enter_context(fake_cuda())
            for name in ("to", "cpu"):
                stack.enter_context(patch.object(nn.Module, name, stay))
            for noise in (noises.Synomaly, Simplex):
                stack.enter_context(patch.object(noise, "__call__", noises.Gaussian.__call__))
            stack.enter_context(patch.object(synomaly, "top_mean", top))
            stack.enter_context(patch.object(Tensor, "backward", backward))
            yield
        self._parameters.clear()
        gc.collect()  # fake tensors that outlive the interpreter's modules end it with a crash

    def module(self, make: Callable[[], Any]) -> Any:
        """Makes a module on the fake device."""
        with torch.device("cuda"):
            made = make()
        self._parameters = list(made.parameters())
        return made

    def sent(self, values: Tensor) -> Tensor:
        """Returns a fake tensor of the same shape and type."""
        return torch.zeros(values.shape, dtype=values.dtype, device="cuda")

    def on_host(self, values: Tensor) -> Tensor:
        """Returns zeros with values, once the tensor is seen to come from the device."""
        assert values.device.type == "cuda"
        with unset_fake_temporarily():
            return torch.zeros(values.shape, dtype=values.dtype)

    @contextmanager
    def on_processor(self) -> Generator[None]:
        """While the block lasts, tensors have values again."""
        with unset_fake_temporarily():
            yield

    def seconds(self, call: Callable[[], object]) -> float:
        """Makes the call once; a second stands for its time, so that rates can be computed."""
        call()
        return 1.0

    def wait(self) -> None:
        """There is nothing to wait for."""

    def peak_gib(self) -> float:
        """There is no memory."""
        return 0.0

    def add(self, work: str, **values: float | str) -> None:
        """Notes the work and the names of its figures; the figures mean nothing."""
        self.rows.append({"work": work, "rehearsed": list(values)})
        print(f"{work:<44} rehearsed: {', '.join(values)}", flush=True)
