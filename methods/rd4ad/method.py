"""RD4AD: a decoder learns to restore a frozen encoder's features and fails on anomalies.

Deng, Li: "Anomaly detection via reverse distillation from one-class embedding" (CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from uadbench.core.catalog import METHODS
from uadbench.core.errors import UserError
from uadbench.core.method import FitContext
from uadbench.core.roles import Supervision
from uadbench.core.types import Batches, ImageBatch, ImageSpec, Prediction, TrainBatch
from uadbench.methods.rd4ad.config import RD4ADConfig
from uadbench.methods.rd4ad.student import Student
from uadbench.nn.backbone import Backbone
from uadbench.nn.feature_map import peak, smooth, to_pixels
from uadbench.nn.statistics import require_images
from uadbench.nn.training import initialise, train_network

STRIDE = 32  # of the embedding


@METHODS.register("rd4ad")
class RD4AD(nn.Module):
    """Cosine distance between a frozen teacher's features and their restoration."""

    name: ClassVar[str] = "rd4ad"
    version: ClassVar[str] = "1"
    supervision: ClassVar[Supervision] = Supervision.HEALTHY
    config_type: ClassVar[type[RD4ADConfig]] = RD4ADConfig

    def __init__(self, config: RD4ADConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.config = config
        if spec.height % STRIDE or spec.width % STRIDE:
            raise UserError(
                f"Images of {spec.height} x {spec.width} do not suit rd4ad.",
                f"Both sides must be multiples of {STRIDE}: --set image_size=64.",
            )
        # tv_in1k: the weights of torchvision, used in the paper
        self.teacher = Backbone(f"{config.backbone}.tv_in1k", (1, 2, 3), spec).requires_grad_(False)
        self.student = Student(config.backbone)

    @classmethod
    def build(cls, config: RD4ADConfig, spec: ImageSpec) -> Self:
        """Creates an untrained pair of teacher and student.

        Raises:
            UserError: If a side of the images is not a multiple of 32.
        """
        return cls(config, spec).eval()

    def disagreement(self, image: Tensor) -> list[Tensor]:
        """Returns 1 - cosine similarity at the teacher's three scales (equation 1), finest first, each (b, 1, h, w)."""
        with torch.no_grad():
            taught = self.teacher(image)
        restored = self.student(taught)
        return [
            1 - functional.cosine_similarity(one.float(), other.float(), dim=1).unsqueeze(1)
            for one, other in zip(taught, restored, strict=True)
        ]

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        """Teaches the student to agree with the teacher on healthy images (equation 2).

        Raises:
            DataError: If there is no training image.
            UserError: If pretrained weights are not available.
            Diverged: If the loss is no longer finite.
        """
        require_images(train)
        config = self.config
        self.teacher.set_weights(config.pretrained, run.generator("teacher"))
        initialise(self.student, run.generator("init"))
        self.to(run.device).eval()
        optimizer = torch.optim.Adam(self.student.parameters(), lr=config.lr, betas=(0.5, 0.999), fused=True)

        def losses(batch: TrainBatch, generator: torch.Generator) -> dict[str, Tensor]:
            del generator
            return {"loss": torch.stack([scale.mean() for scale in self.disagreement(batch.images.image)]).sum()}

        # Only the student is in train mode and in checkpoints; the teacher is frozen.
        train_network(
            self.student,
            optimizer,
            partial(train.sample, config.batch_size),
            losses,
            run=run,
            phase="train",
            steps=config.steps,
            lr=config.lr,
            schedule=config.schedule,
        )

    @torch.no_grad()
    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Adds the upsampled distances of all scales and smooths them (equation 3); the score is their maximum."""
        self.eval()
        size = (images.image.shape[2], images.image.shape[3])
        total = torch.stack([to_pixels(scale, size) for scale in self.disagreement(images.image)]).sum(dim=0)
        anomaly_map = smooth(total, self.config.blur_sigma)
        return Prediction(anomaly_map, peak(anomaly_map, images.body))
