"""Settings of ``equalized``."""

from __future__ import annotations

from uadbench.core.config import ImageSizeConfig


class EqualizedConfig(ImageSizeConfig):
    """Only the image size."""
