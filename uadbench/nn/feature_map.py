"""From a coarse map of feature distances to one value per pixel."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def to_pixels(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsamples maps (b, 1, h, w) bilinearly to (b, 1, *size)."""
    return functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def smooth(maps: Tensor, sigma: float) -> Tensor:
    """Blurs maps (b, 1, h, w) with a Gaussian of ``sigma`` pixels, cut at 4 sigma, with mirrored borders."""
    from torchvision.transforms.functional import gaussian_blur

    # Mirroring requires a radius below the map's size.
    radius = min(round(4 * sigma), maps.shape[-1] - 1, maps.shape[-2] - 1)
    return gaussian_blur(maps, [2 * radius + 1, 2 * radius + 1], [sigma, sigma]) if radius > 0 else maps


def peak(maps: Tensor, body: Tensor) -> Tensor:
    """Returns the largest value inside the body, (b,); for an empty body, of the whole map.

    Args:
        maps: (b, 1, h, w).
        body: Bool of the same shape.
    """
    inside = body | ~body.flatten(1).any(dim=1).view(-1, 1, 1, 1)
    return maps.masked_fill(~inside, float("-inf")).flatten(1).amax(dim=1)
