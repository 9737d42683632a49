"""The residual networks of f-AnoGAN: generator, critic and encoder.

They follow the code published with Schlegl et al. 2019 (its 64 x 64 model, which is that of Gulrajani et al. 2017), and
are written out here because no library provides them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

Normalise = Callable[[int], nn.Module]


def layer_norm(channels: int) -> nn.Module:
    """Normalises each image over channels and pixels, independently of other images (Gulrajani et al.)."""
    return nn.GroupNorm(1, channels)


def batch_norm(channels: int) -> nn.Module:
    """Normalises over the batch in training, with running statistics in prediction."""
    return nn.BatchNorm2d(channels)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, each after normalisation and ReLU, with a 1 x 1 shortcut.

    Args:
        before: Channels in.
        after: Channels out.
        resample: ``down`` halves both sides by average pooling, ``up`` doubles them by repetition.
        normalise: Creates a normalisation for a number of channels.
    """

    def __init__(self, before: int, after: int, resample: Literal["down", "up"], normalise: Normalise) -> None:
        super().__init__()
        down = resample == "down"
        inner = before if down else after
        grow = nn.Identity() if down else nn.Upsample(scale_factor=2, mode="nearest")
        shrink = nn.AvgPool2d(2) if down else nn.Identity()
        # Pooling before, or repeating after, a 1 x 1 convolution gives the same values at a quarter of the cost.
        self.shortcut = nn.Sequential(shrink, nn.Conv2d(before, after, 1), grow)
        self.body = nn.Sequential(
            normalise(before),
            nn.ReLU(),
            grow,
            nn.Conv2d(before, inner, 3, padding=1, bias=False),
            normalise(inner),
            nn.ReLU(),
            nn.Conv2d(inner, after, 3, padding=1),
            shrink,
        )

    def forward(self, values: Tensor) -> Tensor:
        """Maps (b, before, h, w) to (b, after, h', w')."""
        return self.shortcut(values) + self.body(values)


def _widths(width: int, levels: int) -> list[int]:
    return [width * min(8, 2**level) for level in range(levels + 1)]


class Generator(nn.Module):
    """Maps codes (b, latent) to images (b, channels, h, w) in [-1, 1].

    Args:
        latent: Length of a code.
        channels: Channels of an image.
        width: Filters at the finest level.
        grid: Height and width of the coarsest level.
        levels: Number of doublings.
    """

    def __init__(self, latent: int, channels: int, width: int, grid: tuple[int, int], levels: int) -> None:
        super().__init__()
        widths = _widths(width, levels - 1)[::-1]
        self.start = (widths[0], *grid)
        self.input = nn.Linear(latent, widths[0] * grid[0] * grid[1])
        self.blocks = nn.Sequential(
            *(ResidualBlock(before, after, "up", batch_norm) for before, after in pairwise([widths[0], *widths])),
            batch_norm(width),
            nn.ReLU(),
            nn.Conv2d(width, channels, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, code: Tensor) -> Tensor:
        """Returns the images of codes."""
        return self.blocks(self.input(code).unflatten(1, self.start))


class Features(nn.Sequential):
    """Maps images (b, channels, h, w) to flat features (b, size): the trunk of critic and encoder.

    Args:
        channels: Channels of an image.
        width: Filters at the finest level.
        levels: Number of halvings.
        normalise: Creates a normalisation for a number of channels.
    """

    def __init__(self, channels: int, width: int, levels: int, normalise: Normalise) -> None:
        widths = _widths(width, levels)
        super().__init__(
            nn.Conv2d(channels, width, 3, padding=1),
            *(ResidualBlock(before, after, "down", normalise) for before, after in pairwise(widths)),
            nn.Flatten(),
        )


class Critic(nn.Module):
    """The Wasserstein critic D; its trunk gives the features f used in the feature residual.

    Args:
        channels: Channels of an image.
        width: Filters at the finest level.
        grid: Height and width of the coarsest level.
        levels: Number of halvings.
    """

    def __init__(self, channels: int, width: int, grid: tuple[int, int], levels: int) -> None:
        super().__init__()
        self.features = Features(channels, width, levels, layer_norm)
        self.output = nn.Linear(_widths(width, levels)[-1] * grid[0] * grid[1], 1)

    def forward(self, image: Tensor) -> Tensor:
        """Returns one number per image, shape (b,)."""
        return self.output(self.features(image)).squeeze(1)


class Encoder(nn.Sequential):
    """Maps images (b, channels, h, w) to codes (b, latent).

    Args:
        latent: Length of a code.
        channels: Channels of an image.
        width: Filters at the finest level.
        grid: Height and width of the coarsest level.
        levels: Number of halvings.
    """

    def __init__(self, latent: int, channels: int, width: int, grid: tuple[int, int], levels: int) -> None:
        size = _widths(width, levels)[-1] * grid[0] * grid[1]
        super().__init__(Features(channels, width, levels, batch_norm), nn.Linear(size, latent))
