"""Config of ``unet``.

Values of ``paper``: the widths of Ronneberger et al., "U-Net" (MICCAI 2015); loss and length of training of Isensee et
al., "nnU-Net" (Nature Methods 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from uadbench.core.config import MethodConfig
from uadbench.nn.config import Schedule

PLAIN = "plain"


class UNetConfig(MethodConfig):
    """Settings of the supervised U-Net.

    Attributes:
        encoder: ``plain``, the U-Net of ``widths``; or timm's name of an encoder.
        pretrained: Whether a timm encoder starts from pretrained weights.
        widths: Channels of each level, finest first: of the whole plain U-Net, or of a timm encoder's decoder.
        label_fraction: Share of the labelled patients that are used; the runner draws them.
        steps: Training steps.
        batch_size: Images per step, half of them labelled and half healthy; even.
        lr: Learning rate of AdamW at the first step.
        schedule: How the learning rate falls.
        weight_decay: Weight decay of AdamW.
        flip: Whether each training image is mirrored left to right with probability 1/2.
        augment: Whether training images are augmented as in nnU-Net (``augment``).
        foreground: Minimum share of labelled images in a batch that show a lesion, as far as twice as many draws
            contain them.
    """

    encoder: str = PLAIN
    pretrained: bool = False
    widths: tuple[int, ...] = Field(default=(32, 64, 96, 128), min_length=2, max_length=8)
    label_fraction: float = Field(default=1.0, gt=0, le=1)
    steps: int = Field(default=256, ge=1)
    batch_size: int = Field(default=16, ge=2, multiple_of=2)
    lr: float = Field(default=1e-3, gt=0, le=1)
    schedule: Schedule = "cosine"
    weight_decay: float = Field(default=1e-2, ge=0)
    flip: bool = True
    augment: bool = False
    foreground: float = Field(default=0.0, ge=0, le=1)

    INFERENCE: ClassVar[frozenset[str]] = frozenset()
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {"image_size": 32, "widths": (8, 16, 32), "steps": 20, "batch_size": 8},
        # 256 steps of 16: the 4096 training images of every learned method in this preset
        "quick": {"image_size": 64, "steps": 256},
        # Training took 34 minutes of two cores without fast bfloat16 before there was augmentation, and a run may take
        # an hour: hence encoder and steps. The decoder's widths are the usual ones of segmentation libraries for a
        # ResNet.
        "standard": {
            "image_size": 128,
            "encoder": "resnet18",
            "pretrained": True,
            "widths": (16, 32, 64, 128, 256),
            "steps": 2_500,
            "lr": 3e-4,
            # a third, as in nnU-Net
            "augment": True,
            "foreground": 1 / 3,
        },
        # Ronneberger: 64 to 1024 channels, no pretraining. nnU-Net: Dice + cross-entropy, 1000 epochs of 250 steps.
        "paper": {
            "image_size": 256,
            "widths": (64, 128, 256, 512, 1024),
            "steps": 250_000,
            "augment": True,
            "foreground": 1 / 3,
        },
    }
