"""Config of ``rd4ad``.

Values of ``paper``: Deng and Li, "Anomaly detection via reverse distillation from one-class embedding" (CVPR 2022), and
the code published with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from uadbench.core.config import MethodConfig
from uadbench.nn.config import Schedule


class RD4ADConfig(MethodConfig):
    """Settings of RD4AD.

    Attributes:
        backbone: The teacher; the student mirrors its architecture.
        pretrained: Whether the teacher uses pretrained weights.
        steps: Training steps.
        batch_size: Images per step.
        lr: Learning rate of Adam at the first step.
        schedule: How the learning rate falls.
        blur_sigma: Sigma of the Gaussian that smooths the map, in pixels.
    """

    backbone: Literal["resnet18", "resnet34", "resnet50", "wide_resnet50_2"] = "wide_resnet50_2"
    pretrained: bool = True
    steps: int = Field(default=3000, ge=1)
    batch_size: int = Field(default=16, ge=2)
    lr: float = Field(default=0.005, gt=0, le=1)
    schedule: Schedule = "constant"
    blur_sigma: float = Field(default=4.0, ge=0)

    INFERENCE: ClassVar[frozenset[str]] = frozenset({"blur_sigma"})
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {
            "image_size": 32,
            "backbone": "resnet18",
            "pretrained": False,
            "steps": 8,
            "batch_size": 4,
            "blur_sigma": 0.5,
        },
        # 256 steps of 16: the 4096 training images of every learned method in this preset
        "quick": {
            "image_size": 64,
            "backbone": "resnet18",
            "pretrained": False,
            "steps": 256,
            "schedule": "cosine",
            "blur_sigma": 1.0,
        },
        "standard": {"image_size": 128, "steps": 10_000, "schedule": "cosine", "blur_sigma": 2.0},
        # Section 4.1: WideResNet-50-2, 256 pixels, Adam with learning rate 0.005 and betas (0.5, 0.999), batch 16,
        # sigma 4. Its 200 epochs over the 242 images of a mean category of MVTec AD are 3000 steps.
        "paper": {"image_size": 256, "steps": 3000},
    }
