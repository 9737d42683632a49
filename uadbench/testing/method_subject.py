"""A method under check: its config, images, a fitted example and its prediction."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

from uadbench.core.config import MethodConfig
from uadbench.core.method import Method
from uadbench.core.roles import Supervision
from uadbench.core.seeding import derive_seed
from uadbench.core.types import ImageBatch, ImageSpec, Prediction, TrainBatch
from uadbench.testing.fakes import InMemoryBatches, LocalFitContext, image_generators
from uadbench.testing.images import synthetic_images


class MethodSubject:
    """A method class with objects shared by checks, each created on first access.

    Args:
        cls: The method's class.
        seed: Seed of images and fits.
    """

    def __init__(self, cls: type[Method], seed: int) -> None:
        self.cls = cls
        self.seed = seed

    def config(self, preset: str, **overrides: Any) -> MethodConfig:
        """Returns the config of a preset; checks never download weights."""
        if "pretrained" in self.cls.config_type.model_fields:
            overrides = {"pretrained": False, **overrides}
        return self.cls.config_type.resolve(preset, overrides=overrides)

    @cached_property
    def smoke(self) -> MethodConfig:
        """The config of all fits."""
        return self.config("smoke")

    @cached_property
    def spec(self) -> ImageSpec:
        """Shape of the reference images."""
        return ImageSpec(1, self.smoke.image_size, self.smoke.image_size, polarity=1)

    def build(self, spec: ImageSpec | None = None) -> Method:
        """Returns an untrained method."""
        return self.cls.build(self.smoke, spec or self.spec)

    def fit(self, run: LocalFitContext, spec: ImageSpec | None = None, train: TrainBatch | None = None) -> Method:
        """Builds with seeded initial weights, as the runner does, and fits.

        The global random state differs for every fit, so that depending on it is detected.
        """
        spec = spec or self.spec
        labelled = None
        if self.cls.supervision == Supervision.MASKS:
            labelled = InMemoryBatches(synthetic_images(8, spec, seed=self.seed, part="labelled", lesions=True), spec)
        healthy = train or synthetic_images(12, spec, seed=self.seed)
        calib = InMemoryBatches(synthetic_images(6, spec, seed=self.seed, part="calib"), spec)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("init", self.seed))
            method = self.build(spec)
            torch.seed()
            method.fit(InMemoryBatches(healthy, spec), calib, run, labelled)
        return method

    @cached_property
    def reference(self) -> tuple[Method, LocalFitContext]:
        """A fitted method and its uninterrupted run."""
        run = LocalFitContext(self.seed, every=7)
        return self.fit(run), run

    @cached_property
    def images(self) -> ImageBatch:
        """Images of the padded batch shape."""
        return synthetic_images(self.smoke.predict_batch, self.spec, seed=self.seed, part="test", lesions=True).images

    @cached_property
    def prediction(self) -> Prediction:
        """The reference prediction for ``images``."""
        return predict(self.reference[0], self.images)


def predict(method: Method, images: ImageBatch) -> Prediction:
    """Predicts with the generators that the runner would pass, under a different global random state each time."""
    with torch.random.fork_rng(devices=[]):
        torch.seed()
        return method.predict(images, image_generators(images))
