"""What the trivial baselines and the statistics below them compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from uadbench.core.catalog import METHODS
from uadbench.core.errors import DataError
from uadbench.core.types import ImageBatch, ImageSpec, Prediction, TrainBatch
from uadbench.methods.equalized.method import body_ranks
from uadbench.nn.score import top_mean
from uadbench.nn.statistics import body_median, mean_image
from uadbench.testing.fakes import InMemoryBatches, LocalFitContext, image_generators
from uadbench.testing.images import synthetic_images

SPEC = ImageSpec(1, 24, 20)


def _predict(name: str, polarity: int = 1) -> tuple[Prediction, ImageBatch, InMemoryBatches]:
    spec = ImageSpec(1, 24, 20, polarity)
    train = InMemoryBatches(synthetic_images(9, spec), spec)
    cls: Any = METHODS.load(name)
    method = cls.build(cls.config_type.resolve("smoke"), spec)
    method.fit(train, train, LocalFitContext())
    images = synthetic_images(4, spec, part="test", lesions=True).images
    return method.predict(images, image_generators(images)), images, train


def test_intensity_follows_the_polarity() -> None:
    bright, images, _ = _predict("intensity", 1)
    dark, other, _ = _predict("intensity", -1)
    assert torch.equal(bright.anomaly_map, images.image)
    assert torch.equal(dark.anomaly_map, -other.image)


def test_intensity_without_polarity_is_the_distance_from_the_healthy_median() -> None:
    prediction, images, train = _predict("intensity", 0)
    healthy = next(train.epoch(9)).images
    medians = torch.stack([image[body].median() for image, body in zip(healthy.image, healthy.body, strict=True)])
    torch.testing.assert_close(prediction.anomaly_map, (images.image - medians.median()).abs())


def test_equalized_is_uniform_inside_the_body() -> None:
    prediction, images, _ = _predict("equalized")
    for values, inside in zip(prediction.anomaly_map, images.body, strict=True):
        count = int(inside.sum())
        expected = (torch.arange(count) + 0.5) / count
        torch.testing.assert_close(values[inside].sort().values, expected, rtol=0, atol=1.5 / count)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-20, 20), min_size=12, max_size=12), st.integers(1, 11))
def test_ranks_do_not_change_under_a_growing_map_of_intensity(values: list[int], inside: int) -> None:
    plane = torch.tensor(values, dtype=torch.float32).view(3, 4)
    body = (torch.arange(12) < inside).view(3, 4)
    ranks = body_ranks(plane, body)
    assert torch.equal(ranks, body_ranks(plane**3 + 2 * plane, body))
    assert ranks.min() >= 0
    assert ranks.max() <= 1
    torch.testing.assert_close(ranks + body_ranks(-plane, body), torch.ones(3, 4))


def test_position_is_the_mean_distance_from_the_mean() -> None:
    prediction, _, train = _predict("position")
    images = torch.cat([batch.images.image for batch in train.epoch(4)])
    expected = (images - images.mean(0)).abs().mean(0)
    torch.testing.assert_close(prediction.anomaly_map, expected.expand_as(prediction.anomaly_map))


def test_mean_residual_is_the_distance_from_the_mean() -> None:
    prediction, images, train = _predict("mean_residual")
    healthy = torch.cat([batch.images.image for batch in train.epoch(4)])
    torch.testing.assert_close(prediction.anomaly_map, (images.image - healthy.mean(0)).abs())


def test_random_comes_from_the_generator_of_each_image() -> None:
    prediction, _, _ = _predict("random")
    flat = prediction.anomaly_map.flatten(1)
    assert flat.std() == pytest.approx(12**-0.5, rel=0.05)
    assert torch.corrcoef(flat).fill_diagonal_(0).abs().max() < 0.2


def test_top_mean_takes_the_body_alone() -> None:
    values = torch.arange(400.0).view(1, 1, 20, 20)
    body = values < 300
    assert top_mean(values, body).item() == pytest.approx((299 + 298 + 297) / 3)
    assert top_mean(values, body, fraction=0.0001).item() == 299
    assert top_mean(values, torch.zeros_like(body)).item() == 0


def test_statistics_do_not_depend_on_chunks() -> None:
    images = synthetic_images(70, SPEC)  # more than one chunk
    torch.testing.assert_close(mean_image(InMemoryBatches(images, SPEC)), images.images.image.mean(0))


def test_statistics_need_images_and_bodies() -> None:
    images = synthetic_images(2, SPEC).images
    with pytest.raises(DataError, match="training set is empty"):
        mean_image(InMemoryBatches(TrainBatch(images.select([])), SPEC))
    bodiless = ImageBatch(images.uid, images.image, torch.zeros_like(images.body))
    with pytest.raises(DataError, match="body"):
        body_median(InMemoryBatches(TrainBatch(bodiless), SPEC))
