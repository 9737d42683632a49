"""A convolutional variational autoencoder (Kingma & Welling 2014) and its residual.

Architecture and loss after Baur et al., "Autoencoders for unsupervised anomaly segmentation in brain MR images: a
comparative study" (Medical Image Analysis 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from uadbench.core.catalog import METHODS
from uadbench.core.method import FitContext
from uadbench.core.roles import Supervision
from uadbench.core.types import Batches, ImageBatch, ImageSpec, Prediction, TrainBatch
from uadbench.methods.vae.config import VAEConfig
from uadbench.nn.conv import ConvDecoder, ConvEncoder, coarse_shape, level_widths, seeded_dropout
from uadbench.nn.score import residual_map, residual_sign, top_mean
from uadbench.nn.statistics import require_images
from uadbench.nn.training import initialise, train_network


def kl_to_standard_normal(mean: Tensor, log_sigma: Tensor) -> Tensor:
    """Returns KL(N(mean, sigma^2) || N(0, 1)) summed over the code, shape (b,).

    Kingma & Welling 2014, appendix B: 1/2 sum(mu^2 + sigma^2 - log sigma^2 - 1).
    """
    return 0.5 * (mean.square() + (2 * log_sigma).exp() - 2 * log_sigma - 1).sum(1)


@METHODS.register("vae")
class VAE(nn.Module):
    """Anomaly map |x - D(mu(x))|."""

    name: ClassVar[str] = "vae"
    version: ClassVar[str] = "2"
    supervision: ClassVar[Supervision] = Supervision.HEALTHY
    config_type: ClassVar[type[VAEConfig]] = VAEConfig

    def __init__(self, config: VAEConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.spec = spec
        self.config = config
        self.polarity = residual_sign(spec, signed=config.signed)
        widths = level_widths(config.width, config.max_width, config.levels)
        # The study reduces the coarsest grid to an eighth of its channels before the bottleneck.
        self.grid = (widths[-1] // 8, *coarse_shape(spec, config.levels))
        size = self.grid[0] * self.grid[1] * self.grid[2]
        self.encoder = ConvEncoder(spec.channels, widths)
        self.narrow = nn.Conv2d(widths[-1], self.grid[0], 1)
        self.to_mean = nn.Linear(size, config.latent)
        self.to_log_sigma = nn.Linear(size, config.latent)
        self.from_code = nn.Linear(config.latent, size)
        self.widen = nn.Conv2d(self.grid[0], widths[-1], 1)
        self.decoder = ConvDecoder(spec.channels, widths)

    @classmethod
    def build(cls, config: VAEConfig, spec: ImageSpec) -> Self:
        """Creates an untrained variational autoencoder.

        Raises:
            UserError: If the image cannot be halved ``levels`` times.
        """
        return cls(config, spec).eval()

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and log standard deviation of q(z | x), float32, each of shape (b, latent)."""
        grid = self.narrow(self.encoder(image)).flatten(1)
        return self.to_mean(grid).float(), self.to_log_sigma(grid).float()

    def decode(self, code: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Returns the image of a code, (b, c, h, w); with a generator, subject to dropout."""
        grid = seeded_dropout(self.from_code(code), self.config.dropout, generator)
        return self.decoder(self.widen(grid.unflatten(1, self.grid))).float()

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        """Minimises sum |x - D(z)| + beta KL, z ~ q(z | x), on healthy images.

        Raises:
            DataError: If there is no training image.
            Diverged: If the loss is no longer finite.
        """
        require_images(train)
        config = self.config
        initialise(self, run.generator("init"))
        self.to(run.device)
        optimizer = torch.optim.Adam(self.parameters(), lr=config.lr, betas=(0.5, 0.999))

        def losses(batch: TrainBatch, generator: torch.Generator) -> dict[str, Tensor]:
            image = batch.images.image
            mean, log_sigma = self.encode(image)
            mean = seeded_dropout(mean, config.dropout, generator)
            log_sigma = seeded_dropout(log_sigma, config.dropout, generator)
            noise = torch.randn(mean.shape, generator=generator).to(run.device)
            reconstruction = self.decode(mean + log_sigma.exp() * noise, generator)
            residual = (image - reconstruction).abs().flatten(1).sum(1).mean()
            kl = kl_to_standard_normal(mean, log_sigma).mean()
            # divided by the number of pixels, so that the printed loss is comparable across image sizes
            return {"loss": (residual + config.beta * kl) / image[0].numel(), "kl": kl}

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
        """Scores images by |x - D(mu(x))|; channels are averaged. It uses the mean code, so there is no randomness."""
        self.spec.check(images)
        self.eval()
        reconstruction = self.decode(self.encode(images.image)[0]).clamp(-1, 1)
        anomaly_map = residual_map(images.image, reconstruction, self.polarity)
        return Prediction(anomaly_map, top_mean(anomaly_map, images.body), reconstruction)
