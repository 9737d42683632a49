"""A GPU that is not there: fake tensors on the device "cuda", and methods that were made there."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.support.rehearsal import fake_cuda, stay, top
from tests.support.shipped import METHOD_NAMES
from uadbench.core.catalog import METHODS
from uadbench.core.types import ImageSpec
from uadbench.diffusion import noises
from uadbench.diffusion.simplex import Simplex
from uadbench.testing.method_subject import MethodSubject

SPEC = ImageSpec(1, 32, 32, polarity=1)
__all__ = ["CHECKED", "SPEC", "build", "fake_cuda", "keep_on_the_device"]
UNCHECKED = {"equalized", "patchcore"}
CHECKED = [name for name in METHOD_NAMES if name not in UNCHECKED]
SETTINGS: dict[str, dict[str, Any]] = {"synomaly": {"adaptive": False, "min_component": 0}}


def keep_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves modules where they were made, and puts in place of what follows values what does not."""
    for move in ("cpu", "to"):
        monkeypatch.setattr(nn.Module, move, stay)
    for noise in (noises.Coarse, noises.Pyramid, noises.Synomaly):
        monkeypatch.setattr(noise, "__call__", noises.Gaussian.__call__)
    for name in CHECKED:
        METHODS.load(name)
    monkeypatch.setattr(Simplex, "__call__", noises.Gaussian.__call__)
    for module in [module for name, module in sys.modules.items() if name.startswith("uadbench.methods.")]:
        for name in ("top_mean", "peak"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, top)


def build(name: str) -> Any:
    kind: Any = METHODS.load(name)
    config = MethodSubject(kind, 0).config("smoke", **SETTINGS.get(name, {}))
    with torch.device("cuda"):
        return kind.build(config, SPEC)
