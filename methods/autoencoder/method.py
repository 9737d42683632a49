"""A convolutional autoencoder and its residual.

After Baur et al., "Autoencoders for unsupervised anomaly segmentation in brain MR images: a comparative study"
(Medical Image Analysis 2021): trained on healthy images, it cannot reproduce unseen structures.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from uadbench.core.catalog import METHODS
from uadbench.core.method import FitContext
from uadbench.core.roles import Supervision
from uadbench.core.types import Batches, ImageBatch, ImageSpec, Prediction, TrainBatch
from uadbench.methods.autoencoder.config import AutoencoderConfig
from uadbench.nn.conv import ConvDecoder, ConvEncoder, coarse_shape, level_widths, seeded_dropout
from uadbench.nn.score import residual_map, residual_sign, top_mean
from uadbench.nn.statistics import require_images
from uadbench.nn.training import initialise, train_network


@METHODS.register("autoencoder")
class Autoencoder(nn.Module):
    """Anomaly map |x - D(E(x))|."""

    name: ClassVar[str] = "autoencoder"
    version: ClassVar[str] = "2"
    supervision: ClassVar[Supervision] = Supervision.HEALTHY
    config_type: ClassVar[type[AutoencoderConfig]] = AutoencoderConfig

    def __init__(self, config: AutoencoderConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.spec = spec
        self.config = config
        self.polarity = residual_sign(spec, signed=config.signed)
        widths = level_widths(config.width, config.max_width, config.levels)
        # The study reduces the coarsest grid to an eighth of its channels before the bottleneck.
        self.grid = (widths[-1] // 8, *coarse_shape(spec, config.levels))
        size = self.grid[0] * self.grid[1] * self.grid[2]
        dense = config.bottleneck == "dense"
        self.encoder = ConvEncoder(spec.channels, widths)
        self.narrow = nn.Conv2d(widths[-1], self.grid[0], 1)
        self.to_code = nn.Linear(size, config.latent) if dense else nn.Identity()
        self.from_code = nn.Linear(config.latent, size) if dense else nn.Identity()
        self.widen = nn.Conv2d(self.grid[0], widths[-1], 1)
        self.decoder = ConvDecoder(spec.channels, widths)

    @classmethod
    def build(cls, config: AutoencoderConfig, spec: ImageSpec) -> Self:
        """Creates an untrained autoencoder.

        Raises:
            UserError: If the image cannot be halved ``levels`` times.
        """
        return cls(config, spec).eval()

    def forward(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Returns D(E(x)) of shape (b, c, h, w); with a generator, the code is subject to dropout."""
        code = self.to_code(self.narrow(self.encoder(image)).flatten(1))
        code = seeded_dropout(code, self.config.dropout, generator)
        grid = seeded_dropout(self.from_code(code), self.config.dropout, generator)
        return self.decoder(self.widen(grid.unflatten(1, self.grid)))

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        """Minimises the reconstruction loss on healthy images.

        Raises:
            DataError: If there is no training image.
            Diverged: If the loss is no longer finite.
        """
        require_images(train)
        config = self.config
        distance = functional.l1_loss if config.loss == "l1" else functional.mse_loss
        initialise(self, run.generator("init"))
        self.to(run.device)
        optimizer = torch.optim.Adam(self.parameters(), lr=config.lr, betas=(0.5, 0.999))

        def losses(batch: TrainBatch, generator: torch.Generator) -> dict[str, Tensor]:
            image = batch.images.image
            return {"loss": distance(self(image, generator).float(), image)}

        train_network(
            self,
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
        """Scores images by |x - D(E(x))|; channels are averaged.

        Raises:
            UserError: If the images have another shape than the method was built for.
        """
        self.spec.check(images)
        self.eval()
        reconstruction = self(images.image).float().clamp(-1, 1)
        anomaly_map = residual_map(images.image, reconstruction, self.polarity)
        return Prediction(anomaly_map, top_mean(anomaly_map, images.body), reconstruction)
