"""The training loop: what its arguments do to batches, rates and gradients."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from uadbench.core.seeding import torch_generator
from uadbench.core.types import ImageSpec, TrainBatch
from uadbench.nn.training import learning_rate, mirrored, train_network
from uadbench.testing.fakes import InMemoryBatches, LocalFitContext
from uadbench.testing.images import synthetic_images

SPEC = ImageSpec(1, 16, 16)
LESIONS = synthetic_images(64, SPEC, lesions=True)


@pytest.mark.parametrize("axes", [(-1,), (-2,), (-1, -2)])
def test_image_body_and_mask_are_mirrored_together_half_of_the_time(axes: tuple[int, ...]) -> None:
    batch = mirrored(LESIONS, axes, torch_generator("mirror"))
    assert batch.mask is not None
    assert LESIONS.mask is not None
    choices = [torch.rand(64, generator=generator) < 0.5 for generator in [torch_generator("mirror")] for _ in axes]
    for row in range(len(LESIONS.images)):
        turned = [axis for axis, chosen in zip(axes, choices, strict=True) if chosen[row]]
        for found, given in (
            (batch.images.image, LESIONS.images.image),
            (batch.images.body, LESIONS.images.body),
            (batch.mask, LESIONS.mask),
        ):
            assert torch.equal(found[row], given[row].flip(turned) if turned else given[row])
    assert all(0.3 < float(chosen.float().mean()) < 0.7 for chosen in choices)


def test_no_axis_draws_no_number() -> None:
    generator = torch_generator("none")
    before = generator.get_state()
    assert torch.equal(mirrored(LESIONS, (), generator).images.image, LESIONS.images.image)
    assert torch.equal(generator.get_state(), before)


def test_a_linear_rate_falls_by_equal_parts() -> None:
    assert [learning_rate(1.0, step, 4, "linear") for step in range(4)] == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(("clip", "moved"), [(None, 3.0), (1.0, 1.0)])
def test_the_gradient_is_clipped_to_its_norm(clip: float | None, moved: float) -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)

    def losses(batch: TrainBatch, generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": 3 * network.weight.sum()}

    draw = partial(InMemoryBatches(LESIONS, SPEC).sample, 2)
    train_network(network, optimizer, draw, losses, run=LocalFitContext(), phase="train", steps=1, lr=1.0, clip=clip)
    assert network.weight.item() == pytest.approx(-moved)
