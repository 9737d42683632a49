"""Scores do not depend on the speed path: for every method, each path against the plain one.

Plain is fp32, NCHW, one image at a time. The paths are the padded batch, in which converged images leave (synomaly),
weights laid out channels-last, and bfloat16 where a method has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from benchmarks import as_published
from tests.support.shipped import METHOD_NAMES
from uadbench.core.catalog import METHODS
from uadbench.core.numerics import Numerics
from uadbench.core.types import ImageBatch
from uadbench.diffusion.epsilon import Denoiser
from uadbench.diffusion.noises import Gaussian
from uadbench.diffusion.samplers import ancestral
from uadbench.diffusion.schedules import Schedule
from uadbench.methods.synomaly.method import Synomaly
from uadbench.testing.fakes import image_generators
from uadbench.testing.images import synthetic_images
from uadbench.testing.method_checks import FLIPPED, RTOL
from uadbench.testing.method_subject import MethodSubject, predict

BF16_ERROR = 0.01  # ||a - b|| / ||b|| of maps
AP_ERROR = 0.002


@dataclass(frozen=True)
class Example:
    """A fitted method, images with lesions, their truth and what the plain path says of them."""

    method: Any
    images: ImageBatch
    truth: Tensor
    maps: Tensor
    scores: Tensor


@cache
def example(name: str) -> Example:
    subject = MethodSubject(METHODS.load(name), 0)
    if name == "synomaly":  # so that some images go on where others have left
        subject.smoke = subject.config("smoke", stages=5, stage_tau=0.2)
    images = synthetic_images(subject.smoke.predict_batch, subject.spec, part="test", lesions=True)
    method, images, truth = subject.reference[0], images.images, images.mask
    assert truth is not None
    alone = [predict(method, images.select([row])) for row in range(len(images))]
    maps, scores = (torch.cat([getattr(one, part) for one in alone]) for part in ("anomaly_map", "score"))
    return Example(method, images, truth, maps, scores)


def denoiser_of(method: Any) -> Denoiser | None:
    return getattr(method, "denoiser", None)


WITH_BF16 = [name for name in METHOD_NAMES if name in {"anoddpm", "autoddpm", "dae", "ddpm", "synomaly"}]


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def precision(maps: Tensor, truth: Tensor) -> float:
    """Mean average precision of the images."""
    values = [
        average_precision_score(mask.flatten().numpy(), one.flatten().numpy())
        for one, mask in zip(maps, truth, strict=True)
    ]
    return float(np.mean(values))


def require_agreement(found: Any, wanted: Example) -> None:
    """Fails unless maps and scores agree as fp32 does across shapes (docs: protocol)."""
    scale = float(wanted.maps.abs().max())
    far = ~torch.isclose(found.anomaly_map, wanted.maps, rtol=RTOL, atol=RTOL * scale)
    assert float(far.float().mean()) <= FLIPPED
    torch.testing.assert_close(found.score, wanted.scores, rtol=RTOL, atol=RTOL * float(wanted.scores.abs().max()))
    assert abs(precision(found.anomaly_map, wanted.truth) - precision(wanted.maps, wanted.truth)) <= AP_ERROR


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_padded_batch_agrees_with_single_images(name: str) -> None:
    wanted = example(name)
    require_agreement(predict(wanted.method, wanted.images), wanted)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_channels_last_agrees(name: str) -> None:
    wanted = example(name)
    layers: nn.Module = wanted.method
    layers.to(memory_format=torch.channels_last)
    try:
        require_agreement(predict(wanted.method, wanted.images), wanted)
    finally:
        layers.to(memory_format=torch.contiguous_format)


def test_the_methods_with_a_bfloat16_path_are_known() -> None:
    """The others learn under autocast and predict in fp32, whatever the precision."""
    assert [name for name in METHOD_NAMES if denoiser_of(example(name).method) is not None] == WITH_BF16


@pytest.mark.parametrize("name", WITH_BF16)
def test_bfloat16_agrees(name: str) -> None:
    wanted = example(name)
    denoiser = denoiser_of(wanted.method)
    assert denoiser is not None
    denoiser.set_numerics(Numerics.of(bf16=True, channels_last=True))
    try:
        found = predict(wanted.method, wanted.images).anomaly_map
    finally:
        denoiser.set_numerics(Numerics.of(bf16=False, channels_last=False))
        denoiser.arrange()
    assert relative(found, wanted.maps) > 1e-5, "the path was not taken"
    if name == "autoddpm":
        # Outside its mask the map is zero. The mask is a quantile of the image, so a pixel at its border may flip.
        inside = (found > 0) & (wanted.maps > 0)
        assert float(((found > 0) != (wanted.maps > 0)).float().mean()) < FLIPPED
        found, theirs = found * inside, wanted.maps * inside
    else:
        theirs = wanted.maps
        assert abs(precision(found, wanted.truth) - precision(theirs, wanted.truth)) <= AP_ERROR
    assert relative(found, theirs) < BF16_ERROR


def test_converged_images_that_leave_agree_with_the_published_loop() -> None:
    """The published loop, image by image on numpy and scipy, shares nothing with the product but the network."""
    wanted = example("synomaly")
    method: Synomaly = wanted.method
    rule, abar = method.rule, float(method.schedule.abar[method.config.t])
    maps: list[np.ndarray] = []
    calls: list[int] = []
    with torch.no_grad():
        for row, generator in enumerate(image_generators(wanted.images)):
            image = wanted.images.image[row : row + 1]
            found, _, count = as_published.synomaly_map(
                method.denoiser.network, image, generator, abar, method.config.t, rule
            )
            maps.append(found)
            calls.append(count)
    assert len(set(calls)) > 1, "all images made the same number of calls: none left the batch"
    batch = predict(method, wanted.images).anomaly_map[:, 0]
    assert relative(batch, torch.from_numpy(np.stack(maps))) < 1e-4


def test_an_ancestral_chain_agrees_with_the_published_steps() -> None:
    wanted = example("ddpm")
    network, schedule, last = wanted.method.denoiser.network, Schedule.make("linear", 1000), 12
    noise = Gaussian()

    def chain(images: Tensor, generators: list[torch.Generator], *, published: bool) -> Tensor:
        def draw(like: Tensor, t: int) -> Tensor:
            return noise(like, generators, torch.full((len(like),), t))

        if not published:
            return ancestral(wanted.method.denoiser, schedule, images, last, draw)
        for t in range(last, -1, -1):
            images = as_published.ancestral_step(network, images, t, schedule.abar, draw)
        return images

    images = wanted.images
    with torch.no_grad():
        batch = chain(images.image, image_generators(images), published=False)
        alone = [
            chain(images.image[row : row + 1], [generator], published=True)
            for row, generator in enumerate(image_generators(images))
        ]
    assert relative(batch, torch.cat(alone)) < 1e-4


def test_what_would_be_noticed() -> None:
    """The control: a map that is off by 1 % of its largest value on 1 % of its pixels does not pass."""
    wanted = example("autoencoder")
    found = predict(wanted.method, wanted.images)
    spot = torch.rand(found.anomaly_map.shape, generator=torch.Generator().manual_seed(0)) < 0.01
    changed = found.anomaly_map + 0.01 * float(found.anomaly_map.max()) * spot
    with pytest.raises(AssertionError):
        require_agreement(type(found)(changed, found.score, None), wanted)
