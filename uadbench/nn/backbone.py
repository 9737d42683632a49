"""timm encoders as feature extractors; loading pretrained weights fails quickly when offline."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from uadbench.core.errors import UnknownName, UserError
from uadbench.core.types import ImageSpec

PROBE_SECONDS = 5.0
REMEDY = "Go online once, or use random weights: --set pretrained=false."


class Backbone(nn.Module):
    """A convolutional encoder of timm that returns feature maps.

    It is built with random weights, so that a trained method can be loaded offline; ``set_weights``
    sets the initial weights of a fit. Images of one channel are repeated to three.

    Args:
        name: timm's name, with or without a tag ("wide_resnet50_2.tv_in1k").
        levels: Feature maps to return: level i has stride 2 ** (i + 1); of a ResNet, level i >= 1 is the output of
            "layer i".
        spec: Shape of the images.

    Raises:
        UnknownName: If timm has no such model.
        UserError: If the model has no such maps, or the images do not suit it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, levels: Sequence[int], spec: ImageSpec) -> None:
        super().__init__()
        if spec.channels not in (1, 3):
            raise UserError(
                f"Encoder '{name}' takes images of 1 or 3 channels, not {spec.channels}.",
                "Prepare one modality, or use a method without a timm encoder.",
            )
        self._name = name
        self._levels = tuple(levels)
        self._channels = spec.channels
        self.net: Any = self._create()
        self.channels: list[int] = self.net.feature_info.channels()
        self.strides: list[int] = self.net.feature_info.reduction()
        if min(spec.height, spec.width) < max(self.strides):
            raise UserError(
                f"Images of {spec.height} x {spec.width} are smaller than the stride {max(self.strides)} of '{name}'.",
                f"Use --set image_size={2 * max(self.strides)} or more.",
            )
        norm = self._pretrained_cfg()
        self.register_buffer("mean", torch.tensor(norm.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(norm.std).view(1, -1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Returns the feature maps of images.

        Args:
            image: Intensities in [-1, 1], (b, c, h, w).

        Returns:
            One (b, channels[i], ~h / strides[i], ~w / strides[i]) per level.

        Raises:
            UserError: If the images have another number of channels than the encoder was built for.
        """
        if image.shape[1] != self._channels:
            raise UserError(f"The encoder was built for {self._channels} channels, the images have {image.shape[1]}.")
        # [-1, 1] -> [0, 1] -> normalised with the mean and standard deviation used to train the weights.
        normalised = ((image + 1) / 2 - self.mean) / self.std
        return self.net(normalised)

    def set_weights(self, pretrained: bool, generator: torch.Generator) -> None:
        """Sets the initial weights of a fit.

        Args:
            pretrained: Use pretrained weights from the local cache or the hub; otherwise timm's random ones.
            generator: Only its initial seed is used.

        Raises:
            UserError: Within 10 s if pretrained weights are neither cached nor reachable.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator.initial_seed())
            start = self._pretrained() if pretrained else self._create()
        self.net.load_state_dict(start.state_dict())

    def _pretrained(self) -> Any:
        from safetensors import SafetensorError

        source = self._pretrained_cfg().hf_hub_id
        if not source:
            raise UserError(f"timm has no pretrained weights for '{self._name}'.", "Use --set pretrained=false.")
        try:
            file = weights_file(source)
            # With a local file, timm does not contact the hub, which it would retry for most of a minute.
            return self._create(pretrained=True, pretrained_cfg_overlay={"file": str(file)})
        except (OSError, RuntimeError, SafetensorError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"The pretrained weights of '{self._name}' cannot be loaded: {reason}", REMEDY) from error

    def _create(self, **options: Any) -> Any:
        import timm

        if not timm.is_model(self._name):
            raise UnknownName("timm encoder", self._name, timm.list_models())
        if "resnet" in self._name:
            # timm zeroes the last norm of a residual branch, which would make random blocks the identity.
            options["zero_init_last"] = False
        try:
            return timm.create_model(self._name, features_only=True, out_indices=self._levels, **options)
        except (AssertionError, IndexError, TypeError, AttributeError) as error:
            raise UserError(f"timm's '{self._name}' cannot give feature maps {self._levels}: {error}.") from error

    def _pretrained_cfg(self) -> Any:
        import timm

        return timm.get_pretrained_cfg(self._name)


def weights_file(source: str) -> Path:
    """Returns the local file of a model's weights, downloaded from the hub if it is not cached.

    Args:
        source: The hub's name, "owner/model".

    Raises:
        UserError: If it is not cached and the hub does not respond.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    name = "model.safetensors"
    cached = try_to_load_from_cache(source, name)
    if isinstance(cached, str):
        return Path(cached)
    if constants.is_offline_mode() or not answers(constants.ENDPOINT, PROBE_SECONDS):
        raise UserError(f"Pretrained weights of {source} are not cached and the hub cannot be reached.", REMEDY)
    return Path(hf_hub_download(source, name))


def answers(url: str, seconds: float) -> bool:
    """Whether a server responds within the given time, including name resolution."""
    found = threading.Event()

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the hub's own address
            urllib.request.urlopen(request, timeout=seconds).close()  # noqa: S310
            found.set()
        except urllib.error.HTTPError:
            found.set()
        except (OSError, ValueError):
            pass

    # In a thread, because the system's name resolution has no timeout.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return found.is_set()
