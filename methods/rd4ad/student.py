"""The trainable half: a one-class bottleneck and a decoder with the teacher's architecture in reverse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

Block = BasicBlock | Bottleneck

# The residual block, the blocks of layers 1 to 3, and the width of a ResNet-50 block's inner group.
TEACHERS: dict[str, tuple[type[Block], tuple[int, int, int], int]] = {
    "resnet18": (BasicBlock, (2, 2, 2), 64),
    "resnet34": (BasicBlock, (3, 4, 6), 64),
    "resnet50": (Bottleneck, (3, 4, 6), 64),
    "wide_resnet50_2": (Bottleneck, (3, 4, 6), 128),
}


class Student(nn.Module):
    """Restores the teacher's three feature maps from their joint embedding (figure 3).

    Args:
        teacher: Name of the teacher.
    """

    def __init__(self, teacher: str) -> None:
        super().__init__()
        kind, blocks, group = TEACHERS[teacher]
        self.bottleneck = OneClassBottleneck(kind, group)
        # From deep to shallow: the widths and depths of the teacher's layers 3, 2 and 1.
        self.stages = nn.ModuleList()
        inputs = 512 * kind.expansion
        for planes, depth in zip((256, 128, 64), blocks, strict=True):
            first = rising_block(kind, inputs, planes, group)
            inputs = planes * kind.expansion
            rest = [kind(inputs, planes, base_width=group) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(first, *rest))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps the teacher's features, finest first, to restored ones of the same shapes."""
        restored: list[Tensor] = []
        x = self.bottleneck(features)
        for stage in self.stages:
            x = stage(x)
            restored.insert(0, x)
        return restored


class OneClassBottleneck(nn.Module):
    """Multi-scale fusion and one-class embedding, too narrow for features absent in healthy images (section 3.3).

    Args:
        kind: Residual block of the teacher.
        group: Width of its inner group.
    """

    def __init__(self, kind: type[Block], group: int) -> None:
        super().__init__()
        fine, middle, coarse = (planes * kind.expansion for planes in (64, 128, 256))
        self.from_fine = nn.Sequential(halve(fine, middle), halve(middle, coarse))
        self.from_middle = halve(middle, coarse)
        outputs = 512 * kind.expansion
        shortcut = nn.Sequential(nn.Conv2d(3 * coarse, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs))
        rest = [kind(outputs, 512, base_width=group) for _ in range(2)]
        self.embed = nn.Sequential(kind(3 * coarse, 512, 2, shortcut, base_width=group), *rest)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps features of strides 4, 8 and 16 to one embedding of stride 32."""
        fine, middle, coarse = features
        return self.embed(torch.cat([self.from_fine(fine), self.from_middle(middle), coarse], dim=1))


def halve(inputs: int, outputs: int) -> nn.Sequential:
    """Returns a 3 x 3 convolution of stride 2 with normalisation and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def rising_block(kind: type[Block], inputs: int, planes: int, group: int) -> Block:
    """Returns a residual block that doubles the resolution: its strided convolution is a transposed 2 x 2 one."""
    outputs = planes * kind.expansion
    shortcut = nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False), nn.BatchNorm2d(outputs))
    block = kind(inputs, planes, downsample=shortcut, base_width=group)
    name = "conv1" if isinstance(block, BasicBlock) else "conv2"
    width = getattr(block, name)
    setattr(block, name, nn.ConvTranspose2d(width.in_channels, width.out_channels, 2, stride=2, bias=False))
    return block
