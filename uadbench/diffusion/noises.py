"""Noises of diffusion and denoising models. All random numbers are drawn on the CPU, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor
from torch.nn import functional

from uadbench.diffusion.blur import gaussian_blur
from uadbench.diffusion.config import Roi

GRID = 128  # the image size to which sigmas in the literature refer


class Noise(Protocol):
    """A noise process: one generator per image, so that no image's noise depends on the other images."""

    def __call__(self, like: Tensor, generators: Sequence[Generator], t: Tensor, body: Tensor | None = None) -> Tensor:
        """Draws noise.

        Args:
            like: Images (b, c, h, w) that determine shape and device.
            generators: One CPU generator per image; the same one may be given b times.
            t: Diffusion step of each image, shape (b,); used only by simplex noise.
            body: True inside the body, (b, 1, h, w); used only by Synomaly noise.

        Returns:
            float32 of the shape of ``like``.
        """
        ...


def _normal(shape: Sequence[int], generators: Sequence[Generator]) -> Tensor:
    return torch.stack([torch.randn(*shape, generator=generator, device="cpu") for generator in generators])


def _unit_power(noise: Tensor) -> Tensor:
    """Scales each image to a mean square of 1."""
    return noise / noise.square().mean(dim=(1, 2, 3), keepdim=True).sqrt().clamp_min(1e-6)


def _uniform(generator: Generator) -> float:
    return float(torch.rand((), generator=generator, device="cpu"))


@dataclass(frozen=True)
class Gaussian:
    """White Gaussian noise N(0, 1)."""

    def __call__(self, like: Tensor, generators: Sequence[Generator], t: Tensor, body: Tensor | None = None) -> Tensor:
        """See ``Noise``."""
        return _normal(like.shape[1:], generators).to(like.device)


@dataclass(frozen=True)
class Coarse:
    """Gaussian noise on a coarse grid, upsampled bilinearly and rolled by a random shift (Kascenas et al. 2022).

    Attributes:
        cells: Side of the coarse grid.
        unit: Scale each image to a mean square of 1; otherwise the coarse values have it, the upsampled ones less.
    """

    cells: int = 16
    unit: bool = True

    def __call__(self, like: Tensor, generators: Sequence[Generator], t: Tensor, body: Tensor | None = None) -> Tensor:
        """See ``Noise``."""
        channels, height, width = like.shape[1:]
        fields: list[Tensor] = []
        for generator in generators:
            grid = torch.randn(1, channels, self.cells, self.cells, generator=generator, device="cpu")
            field = functional.interpolate(grid, size=(height, width), mode="bilinear", align_corners=False)[0]
            shift = (int(_uniform(generator) * height), int(_uniform(generator) * width))
            fields.append(torch.roll(field, shift, dims=(-2, -1)))
        noise = torch.stack(fields).to(like.device)
        return _unit_power(noise) if self.unit else noise


@dataclass(frozen=True)
class Pyramid:
    """Sum of Gaussian noises at increasingly coarse scales, scaled to a mean square of 1 (Frotscher et al. 2024).

    Attributes:
        discount: Weight of a level relative to the finer one.
        levels: At most this many levels below the full resolution.
    """

    discount: float = 0.8
    levels: int = 10

    def __call__(self, like: Tensor, generators: Sequence[Generator], t: Tensor, body: Tensor | None = None) -> Tensor:
        """See ``Noise``."""
        channels, height, width = like.shape[1:]
        noise = _normal(like.shape[1:], generators)
        for row, generator in enumerate(generators):
            size = (height, width)
            for level in range(1, self.levels + 1):
                ratio = 2 + 2 * _uniform(generator)  # each level shrinks by a random factor in [2, 4]
                size = (max(1, int(size[0] / ratio)), max(1, int(size[1] / ratio)))
                coarse = torch.randn(1, channels, *size, generator=generator, device="cpu")
                fine = functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
                noise[row] += self.discount**level * fine[0]
                if min(size) == 1:
                    break
        noise = noise.to(like.device)
        return _unit_power(noise)


@dataclass(frozen=True)
class Synomaly:
    """Gaussian noise with blobs of shifted mean (Bi et al. 2025).

    n = g + M d (u + offset), where M = [255 (b - min b)/(max b - min b) > threshold] and b is g blurred.
    One u ~ U(0, 1) and one d per image, shared by its blobs. With several channels the blobs of the first are used for
    all.

    Attributes:
        sigma: Standard deviation of the blur in pixels of the 128 grid.
        threshold: On the 0..255 scale of the blurred field.
        offset: Minimum shift.
        directions: Signs to draw from: +1 bright, -1 dark.
        roi: Region of the blobs: anywhere, in a centred disc of radius 58/128 of the image, or in the body.
    """

    sigma: float = 3.0
    threshold: float = 175.0
    offset: float = 0.5
    directions: tuple[int, ...] = (1,)
    roi: Roi = "none"

    def __call__(self, like: Tensor, generators: Sequence[Generator], t: Tensor, body: Tensor | None = None) -> Tensor:
        """See ``Noise``."""
        noise, shift = self._draw(like, generators)
        return noise.addcmul_(self.blobs(noise, body).float(), shift)

    def blobs(self, noise: Tensor, body: Tensor | None = None) -> Tensor:
        """Returns the blob mask M of Gaussian noise (b, c, h, w) as bool of shape (b, 1, h, w)."""
        height, width = noise.shape[-2:]
        blurred = gaussian_blur(noise[:, :1], self.sigma * min(height, width) / GRID)
        low, high = blurred.amin(dim=(2, 3), keepdim=True), blurred.amax(dim=(2, 3), keepdim=True)
        mask = blurred.sub_(low).mul_(255).div_((high - low).clamp_min(1e-12)) > self.threshold
        if self.roi == "disc":
            mask = mask & disc(height, width).to(mask.device)
        elif self.roi == "body" and body is not None:
            mask = mask & body
        return mask

    def _draw(self, like: Tensor, generators: Sequence[Generator]) -> tuple[Tensor, Tensor]:
        noise = torch.empty(like.shape, device="cpu")
        shifts: list[float] = []
        for field, generator in zip(noise, generators, strict=True):
            torch.randn(*field.shape, generator=generator, out=field)
            u, way = torch.rand(2, generator=generator, device="cpu").tolist()
            direction = self.directions[min(int(way * len(self.directions)), len(self.directions) - 1)]
            shifts.append(direction * (u + self.offset))
        shift = torch.tensor(shifts, dtype=torch.float32).view(-1, 1, 1, 1)
        return noise.to(like.device), shift.to(like.device)


def disc(height: int, width: int) -> Tensor:
    """Returns the centred disc of radius 58/128 of the shorter side, bool of shape (h, w)."""
    rows = torch.arange(height, device="cpu").view(-1, 1) - (height - 1) / 2
    columns = torch.arange(width, device="cpu") - (width - 1) / 2
    return rows**2 + columns**2 <= (58 / GRID * min(height, width)) ** 2
