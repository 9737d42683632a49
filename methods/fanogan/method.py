"""f-AnoGAN: a generative adversarial network of healthy images and an encoder into its codes.

Schlegl, Seeböck, Waldstein, Langs, Schmidt-Erfurth: "f-AnoGAN: Fast unsupervised anomaly detection with generative
adversarial networks" (Medical Image Analysis 2019).
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
from uadbench.methods.fanogan.config import FAnoGANConfig
from uadbench.methods.fanogan.networks import Critic, Encoder, Generator
from uadbench.nn.conv import coarse_shape
from uadbench.nn.statistics import require_images
from uadbench.nn.training import initialise, train_network


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """Returns the mean of (|grad D(x^)| - 1)^2 at x^ = real + alpha (fake - real) (Gulrajani et al. 2017, eq. 3).

    Args:
        critic: D, from images (b, c, h, w) to (b,).
        real: Real images.
        fake: Generated images.
        alpha: Numbers in [0, 1), shape (b, 1, 1, 1).
    """
    between = (real + alpha * (fake - real)).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


@METHODS.register("fanogan")
class FAnoGAN(nn.Module):
    """Anomaly map |x - G(E(x))|; the image score adds the residual of the critic's features."""

    name: ClassVar[str] = "fanogan"
    version: ClassVar[str] = "1"
    supervision: ClassVar[Supervision] = Supervision.HEALTHY
    config_type: ClassVar[type[FAnoGANConfig]] = FAnoGANConfig

    def __init__(self, config: FAnoGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.spec = spec
        self.config = config
        grid = coarse_shape(spec, config.levels)
        self.generator = Generator(config.latent, spec.channels, config.width, grid, config.levels)
        self.critic = Critic(spec.channels, config.width, grid, config.levels)
        self.encoder = Encoder(config.latent, spec.channels, config.width, grid, config.levels)

    @classmethod
    def build(cls, config: FAnoGANConfig, spec: ImageSpec) -> Self:
        """Creates untrained networks.

        Raises:
            UserError: If the image cannot be halved ``levels`` times.
        """
        return cls(config, spec).eval()

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        """Trains generator and critic on healthy images (phase "gan"), then the encoder (phase "encoder").

        Raises:
            DataError: If there is no training image.
            Diverged: If a loss is no longer finite.
        """
        require_images(train)
        initialise(self, run.generator("init"))
        self.to(run.device)
        self._fit_gan(train, run)
        self._fit_encoder(train, run)

    def _fit_gan(self, train: Batches, run: FitContext) -> None:
        """WGAN-GP, in float32: the penalty is a gradient of a gradient, for which bfloat16 is too coarse."""
        config = self.config
        generator_optimizer = torch.optim.Adam(self.generator.parameters(), lr=config.lr, betas=(0.0, 0.9))
        critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=config.lr, betas=(0.0, 0.9))
        parts = {
            "generator": self.generator,
            "critic": self.critic,
            "generator_optimizer": generator_optimizer,
            "critic_optimizer": critic_optimizer,
        }
        start = run.resume("gan", **parts)
        self.generator.train()
        self.critic.train()
        for step in run.steps("gan", start, config.gan_steps):
            random = run.generator("gan", step)
            critic_loss = torch.zeros((), device=run.device)
            for _ in range(config.critic_iters):
                real = train.sample(config.batch_size, random).images.image.to(run.device)
                with torch.no_grad():
                    fake = self.generator(self._codes(random, run))
                alpha = torch.rand(len(real), 1, 1, 1, generator=random).to(run.device)
                distance = self.critic(real).mean() - self.critic(fake).mean()
                critic_loss = config.penalty * gradient_penalty(self.critic, real, fake, alpha) - distance
                critic_optimizer.zero_grad(set_to_none=True)
                critic_loss.backward()
                critic_optimizer.step()
            generator_loss = -self.critic(self.generator(self._codes(random, run))).mean()
            generator_optimizer.zero_grad(set_to_none=True)
            generator_loss.backward()
            generator_optimizer.step()
            run.report(step, critic=critic_loss.item(), generator=generator_loss.item())
            run.checkpoint("gan", step + 1, **parts)
        self.generator.eval()
        self.critic.eval()

    def _codes(self, random: torch.Generator, run: FitContext) -> Tensor:
        return torch.randn(self.config.batch_size, self.config.latent, generator=random).to(run.device)

    def _fit_encoder(self, train: Batches, run: FitContext) -> None:
        """The izi_f encoder: minimises the residuals of image and features of x against G(E(x)), G and D fixed."""
        config = self.config
        self.generator.requires_grad_(False)
        self.critic.requires_grad_(False)
        optimizer = torch.optim.RMSprop(self.encoder.parameters(), lr=config.encoder_lr)

        def losses(batch: TrainBatch, random: torch.Generator) -> dict[str, Tensor]:
            del random
            image = batch.images.image
            image_residual, feature_residual = self._residuals(image, self.generator(self.encoder(image)))
            loss = image_residual.mean() + config.kappa * feature_residual.mean()
            return {"loss": loss, "image": image_residual.mean(), "features": feature_residual.mean()}

        train_network(
            self.encoder,
            optimizer,
            partial(train.sample, config.batch_size),
            losses,
            run=run,
            phase="encoder",
            steps=config.encoder_steps,
            lr=config.encoder_lr,
        )
        self.requires_grad_(True)

    def _residuals(self, image: Tensor, reconstruction: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the mean squared residuals of image and critic features, each of shape (b,)."""
        left, right = self.critic.features(image).float(), self.critic.features(reconstruction).float()
        pixels = functional.mse_loss(reconstruction.float(), image, reduction="none")
        return pixels.flatten(1).mean(1), (left - right).square().mean(1)

    @torch.no_grad()
    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Scores pixels by |x - G(E(x))|, channels averaged, and images by A_R + kappa A_D (the paper's A(x))."""
        self.spec.check(images)
        self.eval()
        reconstruction = self.generator(self.encoder(images.image)).float()
        image_residual, feature_residual = self._residuals(images.image, reconstruction)
        anomaly_map = (images.image - reconstruction).abs().mean(1, keepdim=True)
        return Prediction(anomaly_map, image_residual + self.config.kappa * feature_residual, reconstruction)
