"""Settings of ``position``."""

from __future__ import annotations

from uadbench.core.config import ImageSizeConfig


class PositionConfig(ImageSizeConfig):
    """Only the image size."""
