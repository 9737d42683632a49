"""The queue of stages over a stream of batches: same bits as batch by batch, full calls, bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from uadbench.core.types import ImageBatch, ImageSpec
from uadbench.methods.synomaly.config import SynomalyConfig
from uadbench.methods.synomaly.method import Synomaly
from uadbench.methods.synomaly.stages import Refined, StageRule, refine_stream
from uadbench.nn.training import initialise
from uadbench.testing.fakes import image_generators
from uadbench.testing.images import synthetic_images

RULE = StageRule(stages=5, floor=0, stage_k=1, stage_tau=0.1, map_k=1, tau=0.1)


def strip(columns: int) -> torch.Tensor:
    """An image (1, 1, 8) with so many bright columns; ``peel`` takes one away per stage."""
    image = torch.zeros(1, 1, 8)
    image[..., :columns] = 1
    return image


def peel(current: torch.Tensor, positions: list[int]) -> torch.Tensor:
    out = current.clone()
    for image in out[:, 0]:
        bright = (image > 0.5).any(0).nonzero().flatten()[:1]
        image[:, bright] = 0
    return out


@settings(deadline=None, max_examples=60)
@given(
    batches=st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=5), min_size=1, max_size=6),
    size=st.integers(1, 7),
)
def test_a_stream_gives_what_each_image_gives_alone_in_few_calls(batches: list[list[int]], size: int) -> None:
    calls: list[int] = []
    opened = 0

    def restore(current: torch.Tensor, positions: list[int]) -> torch.Tensor:
        calls.append(len(positions))
        return peel(current, positions)

    def images() -> Iterator[torch.Tensor]:
        nonlocal opened
        for columns in batches:
            opened += len(columns)
            yield torch.stack([strip(count) for count in columns])

    results: list[Refined] = []
    for refined in refine_stream(images(), restore, RULE, size):
        results.append(refined)
        ended = sum(len(columns) for columns in batches[: len(results)])
        largest = max(len(columns) for columns in batches)
        assert opened - ended <= RULE.stages * size + size + largest
    assert [result.stages for result in results] == [
        [next(refine_stream([strip(count)[None]], peel, RULE, size)).stages[0] for count in columns]
        for columns in batches
    ]
    for columns, result in zip(batches, results, strict=True):
        for row, count in enumerate(columns):
            alone = next(refine_stream([strip(count)[None]], peel, RULE, size))
            assert torch.equal(alone.restored[0], result.restored[row])
            assert torch.equal(alone.mask[0], result.mask[row])
    total = sum(sum(result.stages) for result in results)
    assert len(calls) <= math.ceil(total / size) + RULE.stages
    assert all(count == size for count in calls[: -RULE.stages])


def test_predictions_of_a_stream_are_those_of_its_batches_to_the_bit() -> None:
    config = SynomalyConfig.resolve("smoke", overrides={"stages": 4})
    spec = ImageSpec(1, 32, 32)
    method = Synomaly.build(config, spec)
    initialise(method.denoiser.network, torch.Generator().manual_seed(0))
    images = synthetic_images(10, spec, lesions=True).images
    calls: list[int] = []

    def note(network: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        calls.append(len(inputs[0]))

    hook = method.denoiser.network.register_forward_pre_hook(note)

    def cut(*sizes: int) -> list[ImageBatch]:
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        return [images.select(range(at, at + count)) for at, count in zip(starts, sizes, strict=True)]

    whole, parts = (
        list(method.predict_many(((part, image_generators(part)) for part in cut(*sizes)), 4))
        for sizes in ((4, 4, 2), (1, 3, 4, 2))
    )
    hook.remove()
    assert set(calls) == {4}
    for name in ("anomaly_map", "score", "reconstruction"):
        assert torch.equal(*(torch.cat([getattr(p, name) for p in some]) for some in (whole, parts)))
    first = images.select(range(4))
    assert torch.equal(method.predict(first, image_generators(first)).anomaly_map, whole[0].anomaly_map)
