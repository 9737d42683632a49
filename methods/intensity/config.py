"""Settings of ``intensity``."""

from __future__ import annotations

from uadbench.core.config import ImageSizeConfig


class IntensityConfig(ImageSizeConfig):
    """Only the image size."""
