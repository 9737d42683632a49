"""RD4AD: the teacher is frozen, the student mirrors it, anomalies make them disagree."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from uadbench.core.errors import UserError
from uadbench.core.types import ImageBatch, ImageSpec
from uadbench.methods.rd4ad.config import RD4ADConfig
from uadbench.methods.rd4ad.method import RD4AD
from uadbench.methods.rd4ad.student import TEACHERS
from uadbench.testing.fakes import InMemoryBatches, Interrupted, LocalFitContext
from uadbench.testing.images import synthetic_images

SPEC = ImageSpec(1, 32, 32)
HEALTHY = InMemoryBatches(synthetic_images(16, SPEC), SPEC)


def build(**overrides: object) -> RD4AD:
    return RD4AD.build(RD4ADConfig.resolve("smoke", overrides=overrides), SPEC)


@pytest.fixture(scope="module")
def fitted() -> tuple[RD4AD, LocalFitContext]:
    method, run = build(steps=20), LocalFitContext(every=1000)
    method.fit(HEALTHY, HEALTHY, run)
    return method, run


@pytest.mark.parametrize("backbone", list(TEACHERS))
def test_student_restores_the_shapes_of_the_teacher(backbone: str) -> None:
    assert list(TEACHERS) == list(get_args(RD4ADConfig.model_fields["backbone"].annotation))
    with torch.device("meta"):
        method = RD4AD.build(RD4ADConfig.resolve("quick", overrides={"backbone": backbone}), ImageSpec(1, 64, 96))
        scales = method.disagreement(torch.empty(2, 1, 64, 96))
    assert [tuple(scale.shape) for scale in scales] == [(2, 1, 16, 24), (2, 1, 8, 12), (2, 1, 4, 6)]


def test_training_moves_the_student_and_never_the_teacher(fitted: tuple[RD4AD, LocalFitContext]) -> None:
    again = build(steps=1)
    again.fit(HEALTHY, HEALTHY, LocalFitContext())
    teacher = again.teacher.state_dict()
    for name, value in fitted[0].teacher.state_dict().items():  # normalisation statistics included
        assert torch.equal(value, teacher[name])
    assert not any(parameter.requires_grad for parameter in fitted[0].teacher.parameters())
    moved = [
        not torch.equal(one, other)
        for one, other in zip(fitted[0].student.parameters(), again.student.parameters(), strict=True)
    ]
    assert all(moved)


def test_loss_falls(fitted: tuple[RD4AD, LocalFitContext]) -> None:
    losses = [scalars["loss"] for _, scalars in fitted[1].history]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_bright_square_makes_them_disagree(fitted: tuple[RD4AD, LocalFitContext]) -> None:
    images = synthetic_images(8, SPEC, part="test").images
    image = images.image.clone()
    image[:, :, 10:22, 10:22] = 1.0
    planted = fitted[0].predict(ImageBatch(images.uid, image, images.body), [])
    healthy = fitted[0].predict(images, [])
    square = planted.anomaly_map[..., 10:22, 10:22].mean(dim=(1, 2, 3))
    assert (square > healthy.anomaly_map[..., 10:22, 10:22].mean(dim=(1, 2, 3))).float().mean() > 0.8


def test_map_adds_three_cosine_distances(fitted: tuple[RD4AD, LocalFitContext]) -> None:
    images = synthetic_images(4, SPEC, part="test").images
    prediction = fitted[0].predict(images, [])
    assert float(prediction.anomaly_map.min()) >= 0
    assert float(prediction.anomaly_map.max()) <= 6
    inside = prediction.anomaly_map.masked_fill(~images.body, -1.0)
    assert torch.equal(prediction.score, inside.amax(dim=(1, 2, 3)))


@pytest.mark.slow
def test_resumed_fit_equals_an_uninterrupted_one() -> None:
    whole, broken = build(steps=6), LocalFitContext(every=2, interrupt_after=3)
    whole.fit(HEALTHY, HEALTHY, LocalFitContext())
    with pytest.raises(Interrupted):
        build(steps=6).fit(HEALTHY, HEALTHY, broken)
    broken.interrupt_after = None
    resumed = build(steps=6)
    resumed.fit(HEALTHY, HEALTHY, broken)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="multiples of 32"):
        RD4AD.build(RD4ADConfig.resolve("smoke"), ImageSpec(1, 48, 32))


def test_paper_preset_has_the_papers_values() -> None:
    config = RD4ADConfig.resolve("paper")
    assert (config.image_size, config.lr, config.batch_size, config.blur_sigma) == (256, 0.005, 16, 4.0)
    assert config.pretrained
    assert RD4ADConfig.resolve("quick").images_seen == 4096
