"""The conformance kit catches methods that break a rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from uadbench.core.catalog import METHODS
from uadbench.core.errors import Diverged
from uadbench.core.types import ImageBatch, ImageSpec, Prediction
from uadbench.testing.fakes import InMemoryBatches, Interrupted, LocalFitContext
from uadbench.testing.images import synthetic_images
from uadbench.testing.method_checks import check_method

Cheat = Callable[[Any, ImageBatch, Sequence[torch.Generator], Prediction], Prediction]


def _with(prediction: Prediction, anomaly_map: torch.Tensor) -> Prediction:
    return Prediction(anomaly_map, prediction.score, prediction.reconstruction)


def _rescaled_by_the_batch(_: Any, images: ImageBatch, noise: Any, honest: Prediction) -> Prediction:
    return _with(honest, honest.anomaly_map / honest.anomaly_map.max())


def _ranked_in_the_batch(_: Any, images: ImageBatch, noise: Any, honest: Prediction) -> Prediction:
    return _with(honest, honest.anomaly_map + torch.arange(len(images)).view(-1, 1, 1, 1))


def _global_noise(_: Any, images: ImageBatch, noise: Any, honest: Prediction) -> Prediction:
    return _with(honest, honest.anomaly_map + torch.rand_like(honest.anomaly_map))


def _not_finite(_: Any, images: ImageBatch, noise: Any, honest: Prediction) -> Prediction:
    return _with(honest, honest.anomaly_map * float("inf"))


def _in_place(_: Any, images: ImageBatch, noise: Any, honest: Prediction) -> Prediction:
    images.image.mul_(0.5)
    return honest


def _reads_the_uid(_: Any, images: ImageBatch, noise: Any, honest: Prediction) -> Prediction:
    hint = torch.tensor([float("lesion" in uid) for uid in images.uid])
    return _with(honest, honest.anomaly_map + hint.view(-1, 1, 1, 1))


def _remembers(method: Any, images: ImageBatch, noise: Any, honest: Prediction) -> Prediction:
    method.seen = getattr(method, "seen", 0) + 1
    return _with(honest, honest.anomaly_map + method.seen)


@pytest.mark.parametrize(
    ("cheat", "caught_by"),
    [
        (_rescaled_by_the_batch, "order and other images in the batch do not matter"),
        (_ranked_in_the_batch, "order and other images in the batch do not matter"),
        (_global_noise, "the same seed repeats"),
        (_not_finite, "fits and predicts finite maps of the right shape"),
        (_in_place, "leaves its input unchanged"),
        (_reads_the_uid, "no label can be reached"),
        (_remembers, "the same seed repeats"),
    ],
)
def test_kit_catches(cheat: Cheat, caught_by: str) -> None:
    honest: Any = METHODS.load("mean_residual")

    def predict(self: Any, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        return cheat(self, images, noise, honest.predict(self, images, noise))

    dishonest: Any = type("Dishonest", (honest,), {"predict": predict, "__module__": honest.__module__})
    failed = {result.name for result in check_method(dishonest) if not result.passed}
    assert caught_by in failed


def test_kit_catches_weights_from_the_global_random_state() -> None:
    honest: Any = METHODS.load("mean_residual")

    def fit(self: Any, *args: Any) -> None:
        honest.fit(self, *args)
        self.mean.add_(torch.rand(()))

    sloppy: Any = type("Sloppy", (honest,), {"fit": fit, "__module__": honest.__module__})
    failed = {result.name for result in check_method(sloppy) if not result.passed}
    assert "the same seed repeats" in failed


def test_local_run_resumes_from_a_folder(tmp_path: Path) -> None:
    layer = torch.nn.Linear(1, 1)
    run = LocalFitContext(folder=tmp_path, every=2, interrupt_after=3)
    run.resume("train", model=layer)
    for step in (0, 1):
        torch.nn.init.constant_(layer.weight, step)
        run.checkpoint("train", step + 1, model=layer)
    with pytest.raises(Interrupted):
        run.checkpoint("train", 3, model=layer)
    other = torch.nn.Linear(1, 1)
    assert LocalFitContext(folder=tmp_path).resume("train", model=other) == 2
    assert other.weight.item() == 1
    assert LocalFitContext(folder=tmp_path).resume("another", model=other) == 0


def test_local_run_refuses_a_loss_that_is_not_finite() -> None:
    with pytest.raises(Diverged, match="step 3"):
        LocalFitContext().report(3, loss=float("nan"))


def test_synthetic_images_are_reproducible_and_keep_lesions_inside() -> None:
    spec = ImageSpec(2, 24, 32, polarity=-1)
    images = synthetic_images(5, spec, seed=1, lesions=True)
    again = synthetic_images(5, spec, seed=1, lesions=True)
    other = synthetic_images(5, spec, seed=1, part="test", lesions=True)
    assert torch.equal(images.images.image, again.images.image)
    assert not torch.equal(images.images.image, other.images.image)
    assert images.mask is not None
    assert images.mask.flatten(1).any(1).all()
    assert not (images.mask & ~images.images.body).any()
    healthy = images.images.body & ~images.mask
    assert (
        images.images.image[images.mask.expand(-1, 2, -1, -1)].mean()
        < images.images.image[healthy.expand(-1, 2, -1, -1)].mean()
    )


def test_batches_in_memory_follow_the_generator() -> None:
    spec = ImageSpec(1, 16, 16)
    batches = InMemoryBatches(synthetic_images(5, spec), spec)
    first = batches.sample(4, torch.Generator().manual_seed(3)).images.uid
    assert first == batches.sample(4, torch.Generator().manual_seed(3)).images.uid
    assert [len(batch.images) for batch in batches.epoch(2)] == [2, 2, 1]
