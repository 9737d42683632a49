"""A supervised U-Net: the performance of a detector trained on lesion masks.

Architecture: Ronneberger, Fischer, Brox: "U-Net: convolutional networks for biomedical image segmentation" (MICCAI
2015), with residual blocks and group normalisation. Loss: Dice + cross-entropy, as in Isensee et al.: "nnU-Net" (Nature
Methods 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from uadbench.core.catalog import METHODS
from uadbench.core.errors import DataError, UserError
from uadbench.core.method import FitContext
from uadbench.core.roles import Supervision
from uadbench.core.types import Batches, ImageBatch, ImageSpec, Prediction, TrainBatch
from uadbench.methods.unet.augment import augmented
from uadbench.methods.unet.config import PLAIN, UNetConfig
from uadbench.methods.unet.network import EncoderUNet
from uadbench.nn.feature_map import peak
from uadbench.nn.statistics import require_images
from uadbench.nn.training import initialise, train_network
from uadbench.nn.unet import PlainUNet


@METHODS.register("unet")
class UNet(nn.Module):
    """Probability of a lesion at each pixel."""

    name: ClassVar[str] = "unet"
    version: ClassVar[str] = "2"
    supervision: ClassVar[Supervision] = Supervision.MASKS
    config_type: ClassVar[type[UNetConfig]] = UNetConfig

    def __init__(self, config: UNetConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.config = config
        self.channels = spec.channels
        if config.encoder != PLAIN:
            self.network: nn.Module = EncoderUNet(config.encoder, config.widths, spec)
            return
        if config.pretrained:
            raise UserError(
                "The plain U-Net has no pretrained weights.", "Add --set pretrained=false, or select a timm encoder."
            )
        stride = 2 ** (len(config.widths) - 1)
        if spec.height % stride or spec.width % stride:
            raise UserError(
                f"Images of {spec.height} x {spec.width} do not suit a U-Net of {len(config.widths)} levels.",
                f"Both sides must be multiples of {stride}: change image_size or widths.",
            )
        self.network = PlainUNet(spec.channels, 1, config.widths, time=False)

    @classmethod
    def build(cls, config: UNetConfig, spec: ImageSpec) -> Self:
        """Creates an untrained U-Net.

        Raises:
            UserError: If the encoder does not exist or does not suit the images.
        """
        return cls(config, spec).eval()

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        """Learns from labelled images and as many healthy ones, whose masks are empty.

        Raises:
            UserError: If there are no masks, or pretrained weights cannot be had.
            DataError: If there is no training image.
            Diverged: If the loss is no longer finite.
        """
        if labelled is None or len(labelled) == 0:
            raise UserError("unet is supervised but got no labelled images.", "Use a dataset with 'labelled' patients.")
        require_images(train)
        config = self.config
        initialise(self, run.generator("init"))
        if isinstance(self.network, EncoderUNet):
            self.network.encoder.set_weights(config.pretrained, run.generator("encoder"))
        self.to(run.device)
        optimizer = torch.optim.AdamW(self.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)

        def draw(generator: torch.Generator) -> TrainBatch:
            batch = mixed_batch(labelled, train, config.batch_size, generator, config.foreground)
            return augmented(batch, generator) if config.augment else batch

        def losses(batch: TrainBatch, generator: torch.Generator) -> dict[str, Tensor]:
            del generator
            logits, truth = self.network(batch.images.image).float(), _mask(batch).float()
            dice, entropy = dice_loss(logits, truth), functional.binary_cross_entropy_with_logits(logits, truth)
            return {"loss": dice + entropy, "dice_loss": dice.detach(), "cross_entropy": entropy.detach()}

        train_network(
            self,
            optimizer,
            draw,
            losses,
            run=run,
            phase="train",
            steps=config.steps,
            lr=config.lr,
            schedule=config.schedule,
            mirror=(-1,) if config.flip else (),
        )

    @torch.no_grad()
    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Returns the probability of a lesion; the score is the largest one inside the body.

        Raises:
            UserError: If the images have another number of channels.
        """
        if images.image.shape[1] != self.channels:
            raise UserError(f"unet was built for {self.channels} channels, the images have {images.image.shape[1]}.")
        self.eval()
        anomaly_map = self.network(images.image).float().sigmoid()
        return Prediction(anomaly_map, peak(anomaly_map, images.body))


def mixed_batch(
    labelled: Batches, healthy: Batches, size: int, generator: torch.Generator, foreground: float = 0.0
) -> TrainBatch:
    """Draws half a batch of labelled images and half of healthy ones, whose masks are empty.

    Args:
        labelled: Images with masks.
        healthy: Images without lesion.
        size: Total number of images.
        generator: CPU generator of the step.
        foreground: Minimum share of the labelled half that shows a lesion, if twice as many draws contain them.

    Raises:
        DataError: If the labelled images have no masks.
    """
    lesions = labelled.sample(size // 2, generator)
    if foreground > 0:
        lesions = _with_lesions(lesions, labelled.sample(size // 2, generator), math.ceil(foreground * (size // 2)))
    normal = healthy.sample(size // 2, generator)
    images = ImageBatch(
        lesions.images.uid + normal.images.uid,
        torch.cat([lesions.images.image, normal.images.image]),
        torch.cat([lesions.images.body, normal.images.body]),
    )
    return TrainBatch(images, torch.cat([_mask(lesions), torch.zeros_like(normal.images.body)]))


def _with_lesions(drawn: TrainBatch, spare: TrainBatch, wanted: int) -> TrainBatch:
    """Replaces images without lesion by spare ones with a lesion, until the required number show one."""
    shows, others = (_mask(batch).flatten(1).any(dim=1) for batch in (drawn, spare))
    missing = max(0, wanted - int(shows.sum()))
    places, found = torch.nonzero(~shows).flatten(), torch.nonzero(others).flatten()
    count = min(missing, len(places), len(found))
    order = torch.arange(len(shows))
    order[places[:count]] = len(shows) + found[:count]
    uids = (*drawn.images.uid, *spare.images.uid)
    images = ImageBatch(
        tuple(uids[int(i)] for i in order),
        torch.cat([drawn.images.image, spare.images.image])[order],
        torch.cat([drawn.images.body, spare.images.body])[order],
    )
    return TrainBatch(images, torch.cat([_mask(drawn), _mask(spare)])[order])


def _mask(batch: TrainBatch) -> Tensor:
    if batch.mask is None:
        raise DataError("The labelled images have no masks.", "Prepare the dataset with masks.")
    return batch.mask


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Returns 1 - soft Dice, pooled over the batch so that images without lesion are defined.

    Args:
        logits: (b, 1, h, w).
        truth: 0 or 1 of the same shape.
    """
    probability = logits.sigmoid()
    overlap = (probability * truth).sum()
    return 1 - (2 * overlap + 1) / (probability.sum() + truth.sum() + 1)
