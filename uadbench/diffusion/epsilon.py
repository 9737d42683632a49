"""A noise predictor, trained on healthy images, with fixed numerics."""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from uadbench.core.method import FitContext
from uadbench.core.numerics import PLAIN, Numerics
from uadbench.core.types import Batches, ImageBatch, ImageSpec, TrainBatch
from uadbench.diffusion.config import DiffusionConfig, TrainingConfig
from uadbench.diffusion.noises import Noise
from uadbench.diffusion.schedules import Schedule
from uadbench.nn.compiled import CompiledCalls
from uadbench.nn.config import UNetConfig
from uadbench.nn.statistics import require_images
from uadbench.nn.training import Losses, initialise, train_network
from uadbench.nn.unet_choice import make_unet


class Denoiser(nn.Module):
    """A network with its numerics.

    Number format and layout of the training are part of the state, so that a loaded model predicts as
    before.

    Args:
        config: Settings.
        spec: Shape of the images.
        time: Whether the network has a diffusion step as input.
    """

    bf16: Tensor
    channels_last: Tensor

    def __init__(self, config: UNetConfig, spec: ImageSpec, *, time: bool = True) -> None:
        super().__init__()
        self.spec = spec
        self.network = make_unet(config, spec, time=time)
        self.register_buffer("bf16", torch.zeros((), dtype=torch.bool))
        self.register_buffer("channels_last", torch.zeros((), dtype=torch.bool))
        # a copy on the host: reading a GPU buffer in every call would synchronise
        self.numerics = PLAIN
        self._cast: tuple[int, nn.Module] | None = None
        self._compiled: CompiledCalls | None = None
        self.register_load_state_dict_post_hook(_read_numerics)

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """Maps (b, c, h, w), and steps (b,), to float32 (b, c, h, w)."""
        network = self.network if torch.is_grad_enabled() or self._cast is None else self._cast[1]
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.numerics.bf16):
            x = x.contiguous(memory_format=torch.channels_last) if self.numerics.channels_last else x
            called = network if self._compiled is None else partial(self._compiled, network)
            return called(x, t).float().contiguous()

    @property
    def compile_error(self) -> str:
        """Why compiling the network failed; "" if it did not."""
        return "" if self._compiled is None else self._compiled.error

    def compile_calls(self) -> None:
        """Passes all later calls of the network through torch.compile; this is no part of the state."""
        self._compiled = CompiledCalls()

    def prepare(self, run: FitContext) -> None:
        """Re-initialises the weights and uses the run's device and numerics."""
        initialise(self.network, run.generator("init"))
        self.to(run.device)
        self.set_numerics(Numerics.of(bf16=run.bf16, channels_last=run.channels_last))

    def set_numerics(self, numerics: Numerics) -> None:
        """Sets number format (bfloat16 by autocast) and layout, which become part of the state."""
        self.bf16.fill_(numerics.bf16)
        self.channels_last.fill_(numerics.channels_last)
        self.numerics, self._cast = numerics, None

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self._cast = None  # created for the previous device and weights
        return super()._apply(fn, recurse)

    def arrange(self) -> None:
        """Sets the layout of the weights and casts them once instead of in every call; call before predicting."""
        self.network.to(memory_format=torch.channels_last if self.numerics.channels_last else torch.contiguous_format)
        if not self.numerics.bf16:
            self._cast = None
            return
        written = sum(parameter._version for parameter in self.network.parameters())
        if self._cast is None or self._cast[0] != written:
            self._cast = (written, _cast_once(self.network))

    def check(self, images: ImageBatch) -> None:
        """Checks that images have the shape that the network was built for.

        Raises:
            UserError: If they do not.
        """
        self.spec.check(images)


def _cast_once(network: nn.Module) -> nn.Module:
    """Returns a copy whose convolutions and linear layers hold bfloat16, to which autocast would cast them each time.

    The other layers remain in float32, as under autocast, so predictions are bit-equal.
    """
    copied = copy.deepcopy(network)
    for module in copied.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            module.to(torch.bfloat16)
    return copied.requires_grad_(False)


def _read_numerics(denoiser: nn.Module, keys: Any) -> None:
    """Applies the numerics of a loaded state."""
    del keys
    if isinstance(denoiser, Denoiser):
        found = Numerics.of(bf16=bool(denoiser.bf16), channels_last=bool(denoiser.channels_last))
        denoiser.set_numerics(found)


def train_denoiser(denoiser: Denoiser, config: TrainingConfig, train: Batches, run: FitContext, losses: Losses) -> None:
    """Trains on healthy images, resumable at every step, and leaves the network in eval mode.

    Args:
        denoiser: Network to train; its weights are re-initialised.
        config: Settings.
        train: Healthy images.
        run: Device, seeds, reports and checkpoints.
        losses: See ``train_network``. They are computed in float32 except for the network itself.

    Raises:
        DataError: If there is no training image.
        Diverged: If a loss is not finite.
    """
    require_images(train)
    denoiser.prepare(run)
    network = denoiser.network
    train_network(
        network,
        torch.optim.AdamW(network.parameters(), lr=config.lr, weight_decay=config.weight_decay),
        partial(train.sample, config.batch_size),
        losses,
        run=run,
        phase="train",
        steps=max(1, config.train_images // config.batch_size),
        lr=config.lr,
        schedule=config.lr_decay,
        mirror=[axis for axis, wanted in ((-1, config.flip), (-2, config.flip_vertical)) if wanted],
        clip=config.clip,
        autocast=False,
    )


def train_epsilon(
    denoiser: Denoiser, noise: Noise, schedule: Schedule, config: DiffusionConfig, train: Batches, run: FitContext
) -> None:
    """Trains the network to predict the whole noise at every t ~ U{0..T-1} (Ho et al. 2020, L_simple).

    With ``train_below``, t is below it.
    """
    steps = config.train_below or len(schedule)

    def losses(batch: TrainBatch, generator: torch.Generator) -> dict[str, Tensor]:
        image, body = batch.images.image, batch.images.body
        t = torch.randint(steps, (len(image),), generator=generator, device="cpu").to(image.device)
        target = noise(image, [generator] * len(image), t, body)
        x_t = schedule.diffuse(image, target, t)
        epsilon = denoiser(x_t, t)
        squared = (epsilon - target).square().mean()
        if not config.vlb:
            return {"loss": squared}
        bound = variational_bound(schedule, image, x_t, epsilon, t)
        return {"loss": squared + bound, "squared": squared, "bound": bound}

    train_denoiser(denoiser, config, train, run, losses)


def variational_bound(schedule: Schedule, x0: Tensor, x_t: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
    """Returns the mean term of the variational bound in bits per dimension (Nichol & Dhariwal 2021).

    The KL divergence of the posterior from p_theta, whose mean comes from the clamped estimate of x0 and whose variance
    is fixed (large); at t = 0 the negative log-likelihood of x0 rounded to 256 grey levels.
    """
    mean, log_variance = schedule.posterior(x0, x_t, t)
    guess, _ = schedule.posterior(schedule.restore(x_t, epsilon, t), x_t, t)
    spread = schedule.model_log_variance(t)
    ratio = torch.exp(log_variance - spread) + (mean - guess).square() * torch.exp(-spread)
    divergence = 0.5 * (ratio - 1 + spread - log_variance).mean(dim=(1, 2, 3))
    likelihood = -_discrete_log_likelihood(x0, guess, 0.5 * spread).mean(dim=(1, 2, 3))
    return torch.where(t == 0, likelihood, divergence).mean() / math.log(2)


def _discrete_log_likelihood(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    inverse = torch.exp(-log_scale)
    above = torch.special.ndtr((x - mean + 1 / 255) * inverse)
    below = torch.special.ndtr((x - mean - 1 / 255) * inverse)
    middle = torch.where(x < -0.999, above, torch.where(x > 0.999, 1 - below, above - below))
    return middle.clamp_min(1e-12).log()
