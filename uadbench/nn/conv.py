"""The encoder and decoder shared by the reconstruction methods.

The backbone is the unified one of Baur et al., "Autoencoders for unsupervised anomaly segmentation in brain MR images:
a comparative study" (Medical Image Analysis 2021): 5 x 5 convolutions with stride 2, batch normalisation, leaky ReLU,
32 filters doubled at every level up to 128, mirrored by transposed convolutions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from uadbench.core.errors import UserError
from uadbench.core.types import ImageSpec

SLOPE = 0.3  # slope of the leaky ReLU, the default of the library used in the study


def level_widths(width: int, max_width: int, levels: int) -> list[int]:
    """Returns the number of filters of each level, from fine to coarse."""
    return [min(max_width, width * 2**level) for level in range(levels)]


def coarse_shape(spec: ImageSpec, levels: int) -> tuple[int, int]:
    """Returns the height and width after ``levels`` halvings.

    Raises:
        UserError: If the image cannot be halved that often.
    """
    stride = 2**levels
    if spec.height % stride or spec.width % stride or min(spec.height, spec.width) < 2 * stride:
        raise UserError(
            f"Images of {spec.height} x {spec.width} do not suit {levels} levels.",
            f"Both sides must be multiples of {stride}, at least {2 * stride}: change image_size or levels.",
        )
    return spec.height // stride, spec.width // stride


class ConvEncoder(nn.Sequential):
    """Maps (b, channels, h, w) to (b, widths[-1], h / 2**levels, w / 2**levels).

    Args:
        channels: Channels of the image.
        widths: Filters of each level, from fine to coarse.
    """

    def __init__(self, channels: int, widths: list[int]) -> None:
        layers: list[nn.Module] = []
        for before, after in zip([channels, *widths[:-1]], widths, strict=True):
            # the normalisation would cancel a bias
            layers += [nn.Conv2d(before, after, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(after)]
            layers += [nn.LeakyReLU(SLOPE)]
        super().__init__(*layers)


class ConvDecoder(nn.Sequential):
    """Maps (b, widths[-1], h / 2**levels, w / 2**levels) to (b, channels, h, w), without a final activation.

    Args:
        channels: Channels of the image.
        widths: Filters of each level, from fine to coarse, as given to the encoder.
    """

    def __init__(self, channels: int, widths: list[int]) -> None:
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[-1]), nn.ReLU()]
        before = widths[-1]
        for after in (max(widths[0], widths[-1] // 2**level) for level in range(len(widths))):
            layers += [
                nn.ConvTranspose2d(before, after, 5, stride=2, padding=2, output_padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(SLOPE),
            ]
            before = after
        layers += [nn.Conv2d(before, channels, 1)]
        super().__init__(*layers)


def seeded_dropout(values: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    """Drops values at random and scales up the rest; does nothing without a generator.

    Args:
        values: Any tensor.
        rate: Probability of dropping, in [0, 1).
        generator: CPU generator of the step; None outside training.
    """
    if generator is None or rate == 0:
        return values
    kept = torch.rand(values.shape, generator=generator) >= rate
    return values * kept.to(values.device) / (1 - rate)
