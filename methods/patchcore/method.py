"""PatchCore: the distance of a patch to the nearest healthy patch.

Roth, Pemula, Zepeda, Schoelkopf, Brox, Gehler: "Towards total recall in industrial anomaly detection" (CVPR 2022).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from uadbench.core.catalog import METHODS
from uadbench.core.errors import DataError
from uadbench.core.method import FitContext
from uadbench.core.roles import Supervision
from uadbench.core.types import Batches, ImageBatch, ImageSpec, Prediction
from uadbench.methods.patchcore.config import PatchCoreConfig
from uadbench.methods.patchcore.coreset import greedy_k_centre, project
from uadbench.nn.backbone import Backbone
from uadbench.nn.feature_map import smooth, to_pixels
from uadbench.nn.statistics import require_images

HELD = 2**30  # bytes of patches
DISTANCES = 2**25  # maximum number of patch-to-memory distances at a time (128 MiB)


@METHODS.register("patchcore")
class PatchCore(nn.Module):
    """Distance of each patch feature to a memory bank of healthy ones."""

    name: ClassVar[str] = "patchcore"
    version: ClassVar[str] = "1"
    supervision: ClassVar[Supervision] = Supervision.HEALTHY
    config_type: ClassVar[type[PatchCoreConfig]] = PatchCoreConfig

    bank: Tensor

    def __init__(self, config: PatchCoreConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone, sorted(set(config.layers)), spec).requires_grad_(False)
        self.register_buffer("bank", torch.empty(0, config.feature_dim or sum(self.backbone.channels)))

    @classmethod
    def build(cls, config: PatchCoreConfig, spec: ImageSpec) -> Self:
        """Creates a PatchCore with an empty memory bank.

        Raises:
            UserError: If the backbone does not exist or does not suit the images.
        """
        return cls(config, spec).eval()

    def features(self, image: Tensor) -> Tensor:
        """Returns locally aware patch features (equations 1 to 3).

        Args:
            image: (b, c, h, w) in [-1, 1].

        Returns:
            (b, gh, gw, d), on the grid of the finest layer.
        """
        # The mean over 3 x 3 neighbours adds local context without a coarser grid.
        maps = [functional.avg_pool2d(level, 3, stride=1, padding=1) for level in self.backbone(image)]
        grid = maps[0].shape[-2:]
        aligned = [functional.interpolate(level, size=grid, mode="bilinear", align_corners=False) for level in maps[1:]]
        joined = torch.cat([maps[0], *aligned], dim=1).permute(0, 2, 3, 1)
        if self.config.feature_dim is None:
            return joined
        return functional.adaptive_avg_pool1d(joined.flatten(0, 2), self.config.feature_dim).unflatten(
            0, joined.shape[:3]
        )

    @torch.no_grad()
    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        """Selects patches by their projections and stores them.

        If all patches exceed ``HELD`` bytes, they are computed a second time to store the selected ones.

        Raises:
            DataError: If there is no training image, or features are not finite.
            UserError: If pretrained weights are not available.
        """
        require_images(train)
        config = self.config
        self.backbone.set_weights(config.pretrained, run.generator("init"))
        self.to(run.device).eval()
        held: list[Tensor] = []
        projections: list[Tensor] = []
        size = 0
        for patches in self._pass(train, run, "choose"):
            projections.append(project(patches, config.projection_dim, run.generator("project")))
            size += patches.nbytes
            held = [*held, patches] if size <= HELD else []
        projected = torch.cat(projections)
        if not projected.isfinite().all():
            raise DataError("The features of the training images are not finite.", "Check the images for NaN.")
        count = math.ceil(config.coreset_fraction * len(projected))
        first = int(torch.randint(len(projected), (), generator=run.generator("first")))
        # in stored order, which does not matter for the memory bank, so that a second pass can select them
        chosen = greedy_k_centre(projected, count, first).sort().values
        kept: list[Tensor] = []
        offset = 0
        for patches in held or self._pass(train, run, "keep"):
            rows = chosen[(chosen >= offset) & (chosen < offset + len(patches))] - offset
            kept.append(patches[rows])
            offset += len(patches)
        self.bank = torch.cat(kept)
        run.report(0, memory=float(len(self.bank)))

    def _pass(self, train: Batches, run: FitContext, phase: str) -> Iterator[Tensor]:
        """Yields the patch features (n, d) of the images for the memory bank, batch by batch, deterministically."""
        size = self.config.batch_size
        feeds = torch.zeros(len(train), dtype=torch.bool)
        order = torch.randperm(len(train), generator=run.generator("images"))
        feeds[order[: self.config.bank_images]] = True
        batches = train.epoch(size)
        for step in run.steps(phase, 0, math.ceil(len(train) / size)):
            image = next(batches).images.image[feeds[step * size : (step + 1) * size]]
            if len(image):
                yield self.features(image.to(run.device)).flatten(0, 2)

    @torch.no_grad()
    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Scores patches by their distance to the memory bank, upsampled and smoothed (section 3.3)."""
        self.eval()
        features = self.features(images.image)
        # image by image, so that the shape of the distance matrix, and thus every bit, does not depend on the batch
        results = [self._score(patches, body) for patches, body in zip(features, images.body, strict=True)]
        coarse = torch.stack([distance for distance, _ in results])[:, None]
        anomaly_map = smooth(to_pixels(coarse, (images.image.shape[2], images.image.shape[3])), self.config.blur_sigma)
        return Prediction(anomaly_map, torch.stack([score for _, score in results]))

    def _score(self, features: Tensor, body: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the distances (gh, gw) of one image's patches and its re-weighted score ()."""
        grid = features.shape[:2]
        patches = features.flatten(0, 1)
        rows = max(1, DISTANCES // len(self.bank))
        nearest = torch.cat([torch.cdist(part, self.bank).argmin(dim=1) for part in patches.split(rows)])
        # recomputed: cdist's matrix product loses precision for small distances
        distance = (patches - self.bank[nearest]).norm(dim=1)
        inside = functional.adaptive_max_pool2d(body.float(), grid).flatten() > 0
        candidates = distance.masked_fill(~inside, -1.0) if inside.any() else distance
        worst = candidates.argmax()
        return distance.unflatten(0, grid), distance[worst] * self._weight(patches[worst], self.bank[nearest[worst]])

    def _weight(self, patch: Tensor, closest: Tensor) -> Tensor:
        """Returns the factor of equation 7: near 1 if the closest memory patch is itself rare, smaller if it is common.

        Args:
            patch: The most anomalous patch of an image, (d,).
            closest: Its nearest neighbour in the memory bank, (d,).
        """
        count = min(self.config.neighbours, len(self.bank))
        if count < 2:
            return torch.ones((), device=patch.device)  # no neighbourhood for comparison
        around = (self.bank - closest).norm(dim=1).topk(count, largest=False).indices
        return 1 - (self.bank[around] - patch).norm(dim=1).softmax(dim=0)[0]

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Loads the result of ``state_dict``; the memory bank may have any number of patches."""
        bank = state_dict.get("bank")
        if bank is not None:
            self.bank = torch.empty_like(bank, device=self.bank.device)
        return super().load_state_dict(state_dict, strict, assign)
