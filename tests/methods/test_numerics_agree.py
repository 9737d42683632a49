"""In which layout and number format maps of the methods without a diffusion network may be predicted.

``verify --rerun`` accepts maps that agree to 1e-4. In channels last they do; in bfloat16 they do not, so that these
methods predict in fp32, in the layout that was picked.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from uadbench.core.catalog import METHODS
from uadbench.core.numerics import PLAIN, Numerics
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor
from uadbench.testing.images import synthetic_images
from uadbench.testing.method_subject import MethodSubject

NAMES = ("autoencoder", "fanogan", "patchcore", "rd4ad", "unet", "vae")
RTOL = 1e-4


def untrained(name: str) -> tuple[MethodSubject, Any]:
    subject = MethodSubject(METHODS.load(name), 0)
    torch.manual_seed(0)
    method: Any = subject.build()
    for parameter in method.parameters():
        if not parameter.detach().any():  # the last layer of a U-Net begins at zero
            parameter.data.normal_(0, 0.1)
    if name == "patchcore":  # its memory: some patches of other images
        other = synthetic_images(2, subject.spec, part="train").images
        with torch.no_grad():
            method.bank = method.features(other.image).flatten(0, 2)[::7].clone()
    return subject, method.eval()


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


@pytest.mark.parametrize("name", NAMES)
def test_maps_agree_in_both_layouts_and_not_in_bfloat16(name: str) -> None:
    subject, method = untrained(name)
    images = subject.images
    device = torch.device("cpu")

    def maps(numerics: Numerics) -> np.ndarray:
        return FixedBatchPredictor(copy.deepcopy(method), 0, len(images), device, numerics=numerics)(images)[0]

    plain = maps(PLAIN)
    last = maps(Numerics("fp32", "channels_last"))
    assert difference(last, plain) < RTOL
    assert np.array_equal(last, maps(Numerics("bf16", "channels_last")))
    with torch.autocast("cpu", torch.bfloat16):
        assert difference(maps(PLAIN), plain) > RTOL


def test_the_layout_reaches_the_weights() -> None:
    _, method = untrained("vae")
    FixedBatchPredictor(method, 0, 2, torch.device("cpu"), numerics=Numerics("fp32", "channels_last"))
    assert any(
        parameter.is_contiguous(memory_format=torch.channels_last) and not parameter.is_contiguous()
        for parameter in method.parameters()
        if parameter.ndim == 4
    )
