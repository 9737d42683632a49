"""Config of ``patchcore``.

Values of ``paper``: Roth et al., "Towards total recall in industrial anomaly detection" (CVPR 2022), and the code
published with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from uadbench.core.config import MethodConfig


class PatchCoreConfig(MethodConfig):
    """Settings of PatchCore.

    Attributes:
        backbone: timm's name of the encoder.
        pretrained: Whether it uses pretrained weights.
        layers: Feature maps to combine: i has stride 2 ** (i + 1), a ResNet's "layer i".
        feature_dim: Length of a patch feature after channel pooling; None keeps all channels.
        bank_images: Maximum number of training images, drawn at random, for the memory bank; None for all.
        coreset_fraction: Share of their patches in the memory bank.
        projection_dim: Length of the random projections for the coreset; None for no projection.
        neighbours: Size b of the neighbourhood that re-weights the image score.
        blur_sigma: Sigma of the Gaussian that smooths the map, in pixels.
        batch_size: Images per forward pass.
    """

    backbone: str = "wide_resnet50_2.tv_in1k"
    pretrained: bool = True
    layers: tuple[int, ...] = Field(default=(2, 3), min_length=1)
    feature_dim: int | None = Field(default=1024, ge=8)
    bank_images: int | None = Field(default=None, ge=1)
    coreset_fraction: float = Field(default=0.1, gt=0, le=1)
    projection_dim: int | None = Field(default=128, ge=2)
    neighbours: int = Field(default=9, ge=2)
    blur_sigma: float = Field(default=4.0, ge=0)
    batch_size: int = Field(default=16, ge=1)

    INFERENCE: ClassVar[frozenset[str]] = frozenset({"neighbours", "blur_sigma"})
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {
            "image_size": 32,
            "backbone": "resnet18",
            "pretrained": False,
            "layers": (1, 2),
            "feature_dim": None,
            "bank_images": 16,
            "blur_sigma": 0.6,
        },
        # The paper's finest grid is a 1/8 of 224 pixels, 28 x 28; at 64 pixels layers 1 and 2 give 16 x 16.
        "quick": {
            "image_size": 64,
            "backbone": "resnet18",
            "pretrained": False,
            "layers": (1, 2),
            "feature_dim": None,
            "bank_images": 512,
            "coreset_fraction": 0.01,
            "projection_dim": 64,
            "blur_sigma": 1.1,
        },
        "standard": {"image_size": 128, "bank_images": 2000, "coreset_fraction": 0.01, "blur_sigma": 2.3},
        # 224 pixels; WideResNet-50-2 of torchvision, layers 2 and 3; 10 % of the patches (the paper's others: 1 and
        # 25 %); sigma 4: section 4.1 and figure 2. Feature length 1024, projections of 128: the published code.
        "paper": {"image_size": 224},
    }
