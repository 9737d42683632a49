"""The supervised U-Net: masks are needed, half of a batch is healthy, it learns what it is shown."""

from __future__ import annotations

import pytest
import torch

from uadbench.core.errors import DataError, UserError
from uadbench.core.seeding import torch_generator
from uadbench.core.types import ImageBatch, ImageSpec, TrainBatch
from uadbench.methods.unet.augment import augmented
from uadbench.methods.unet.config import UNetConfig
from uadbench.methods.unet.method import UNet, dice_loss, mixed_batch
from uadbench.testing.fakes import InMemoryBatches, Interrupted, LocalFitContext
from uadbench.testing.images import synthetic_images

SPEC = ImageSpec(1, 32, 32)
HEALTHY = InMemoryBatches(synthetic_images(12, SPEC), SPEC)
LABELLED = InMemoryBatches(synthetic_images(12, SPEC, part="labelled", lesions=True), SPEC)


def build(**overrides: object) -> UNet:
    return UNet.build(UNetConfig.resolve("smoke", overrides=overrides), SPEC)


def fit(run: LocalFitContext, **overrides: object) -> UNet:
    method = build(**overrides)
    method.fit(HEALTHY, HEALTHY, run, LABELLED)
    return method


@pytest.mark.parametrize("encoder", ["plain", "resnet18"])
def test_it_learns_to_find_lesions(encoder: str) -> None:
    method = fit(LocalFitContext(every=1000), encoder=encoder, steps=60)
    images = synthetic_images(8, SPEC, part="test", lesions=True)
    assert images.mask is not None
    prediction = method.predict(images.images, [])
    assert 0 <= float(prediction.anomaly_map.min()) <= float(prediction.anomaly_map.max()) <= 1
    lesion = prediction.anomaly_map[images.mask].mean()
    assert float(lesion) > 3 * float(prediction.anomaly_map[~images.mask].mean())
    healthy = method.predict(synthetic_images(8, SPEC, part="well").images, [])
    assert float(prediction.score.mean()) > float(healthy.score.mean())


def test_half_of_a_batch_is_healthy() -> None:
    batch = mixed_batch(LABELLED, HEALTHY, 8, torch_generator("batch"))
    mask = batch.mask
    assert mask is not None
    assert batch.images.image.shape == (8, 1, 32, 32)
    assert mask[:4].flatten(1).any(dim=1).all()
    assert not mask[4:].any()


def test_dice_loss_at_its_ends() -> None:
    truth = torch.zeros(2, 1, 8, 8)
    truth[0, :, 2:6, 2:6] = 1
    sure = 40 * (2 * truth - 1)
    assert float(dice_loss(sure, truth)) == pytest.approx(0, abs=1e-6)
    assert float(dice_loss(-sure, truth)) == pytest.approx(1, abs=0.02)
    nothing = torch.zeros_like(truth)
    assert float(dice_loss(nothing - 40, nothing)) == pytest.approx(0, abs=1e-6)


def test_it_refuses_to_learn_without_masks() -> None:
    with pytest.raises(UserError, match="labelled"):
        build().fit(HEALTHY, HEALTHY, LocalFitContext())
    none = InMemoryBatches(TrainBatch(synthetic_images(1, SPEC).images.select([])), SPEC)
    with pytest.raises(UserError, match="labelled"):
        build().fit(HEALTHY, HEALTHY, LocalFitContext(), none)
    with pytest.raises(DataError, match="masks"):
        build().fit(HEALTHY, HEALTHY, LocalFitContext(), HEALTHY)


def test_resumed_fit_equals_an_uninterrupted_one() -> None:
    whole, broken = fit(LocalFitContext(), encoder="resnet18", steps=6), LocalFitContext(every=2, interrupt_after=3)
    with pytest.raises(Interrupted):
        fit(broken, encoder="resnet18", steps=6)
    broken.interrupt_after = None
    resumed = fit(broken, encoder="resnet18", steps=6).state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.state_dict().items())


def test_augmented_resumed_fit_equals_an_uninterrupted_one() -> None:
    options = {"steps": 6, "augment": True, "foreground": 0.5}
    whole, broken = fit(LocalFitContext(), **options), LocalFitContext(every=2, interrupt_after=3)
    with pytest.raises(Interrupted):
        fit(broken, **options)
    broken.interrupt_after = None
    resumed = fit(broken, **options).state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.state_dict().items())


def test_augmentation_moves_image_and_mask_together_and_keeps_the_scale() -> None:
    size = 48
    truth = torch.zeros(64, 1, size, size, dtype=torch.bool)
    truth[:, :, 12:26, 20:38] = True
    image = torch.where(truth, 0.8, -0.6)
    before = TrainBatch(ImageBatch(tuple(str(i) for i in range(64)), image, torch.ones_like(truth)), truth)
    after = augmented(before, torch_generator("step", 3))
    again = augmented(before, torch_generator("step", 3))
    assert after.mask is not None
    assert torch.equal(after.images.image, again.images.image)
    assert not torch.equal(after.images.image, augmented(before, torch_generator("step", 4)).images.image)
    assert after.images.image.min() >= -1
    assert after.images.image.max() <= 1
    moved = (after.mask != truth).flatten(1).any(dim=1)
    assert 0.2 < float(moved.float().mean()) < 0.8
    assert after.mask.flatten(1).any(dim=1).all()
    # wherever the mask went, the lesion went: it stays brighter than what is around it
    for one, mask in zip(after.images.image, after.mask, strict=True):
        assert float(one[mask].median()) > float(one[~mask].median()) + 0.3
    assert torch.equal(image, before.images.image)  # what was handed in is untouched


def test_foreground_is_oversampled_where_it_is_found() -> None:
    some = synthetic_images(12, SPEC, part="labelled", lesions=True)
    assert some.mask is not None
    mask = some.mask.clone()
    mask[3:] = False  # a quarter shows a lesion
    rare = InMemoryBatches(TrainBatch(some.images, mask), SPEC)

    def share(foreground: float) -> float:
        found = [mixed_batch(rare, HEALTHY, 8, torch_generator("step", i), foreground).mask for i in range(100)]
        return float(torch.stack([m[:4].flatten(1).any(dim=1).float().mean() for m in found if m is not None]).mean())

    assert share(0.5) > share(0.0) + 0.1


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5])
def test_label_fraction_is_a_fraction(fraction: float) -> None:
    with pytest.raises(UserError, match="label_fraction"):
        UNetConfig.resolve("quick", overrides={"label_fraction": fraction})


def test_unsuitable_images_are_refused() -> None:
    with pytest.raises(UserError, match="multiples of 4"):
        UNet.build(UNetConfig.resolve("smoke"), ImageSpec(1, 30, 32))
    with pytest.raises(UserError, match="channels"):
        build().predict(synthetic_images(1, ImageSpec(3, 32, 32)).images, [])
    with pytest.raises(UserError, match="pretrained=false"):
        build(pretrained=True)


def test_timm_encoders_take_any_size() -> None:
    spec = ImageSpec(3, 40, 56)
    config = UNetConfig.resolve("standard", overrides={"pretrained": False, "encoder": "resnet18"})
    prediction = UNet.build(config, spec).predict(synthetic_images(2, spec).images, [])
    assert prediction.anomaly_map.shape == (2, 1, 40, 56)


def test_quick_sees_as_many_images_as_the_others() -> None:
    assert UNetConfig.resolve("quick").images_seen == 4096
