"""Plug-ins as a stranger would install them: a module and its entry point, on the path of this process."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from uadbench.core.catalog import METHODS

METHOD = """
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from uadbench.core.catalog import METHODS
from uadbench.core.config import MethodConfig
from uadbench.core.roles import Supervision
from uadbench.core.types import Prediction


class Config(MethodConfig):
    PRESETS: ClassVar = dict.fromkeys(("smoke", "quick", "standard", "paper"), {{"image_size": 40}})


@METHODS.register("{name}")
class Plugin(nn.Module):
    name: ClassVar[str] = "{name}"
    version: ClassVar[str] = "1"
    supervision: ClassVar[Supervision] = Supervision.HEALTHY
    config_type: ClassVar[type[MethodConfig]] = Config

    def __init__(self):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(1))

    @classmethod
    def build(cls, config, spec):
        return cls()

    def fit(self, train, calib, run, labelled=None):
{fit}

    def predict(self, images, noise):
        maps = images.image.mean(1, keepdim=True) * images.body
{predict}
        return Prediction(maps, maps.flatten(1).amax(1))
"""


def write_method(folder: Path, name: str, *, fit: str = "pass", predict: str = "pass") -> Path:
    """Writes the package of a method that returns the intensities, with lines of one's own in fit and predict."""

    def indented(lines: str) -> str:
        return "\n".join(" " * 8 + line for line in lines.splitlines())

    (folder / f"{name}.py").write_text(METHOD.format(name=name, fit=indented(fit), predict=indented(predict)))
    info = folder / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[uadbench.methods]\n{name} = {name}\n")
    return folder


@contextmanager
def installed(folder: Path, *names: str) -> Generator[None]:
    """Puts a folder of plug-ins on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        try:
            yield
        finally:
            for name in names:
                sys.modules.pop(name, None)
                METHODS._classes.pop(name, None)  # pyright: ignore[reportPrivateUsage]
