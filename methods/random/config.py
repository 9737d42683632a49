"""Settings of ``random``."""

from __future__ import annotations

from uadbench.core.config import ImageSizeConfig


class RandomConfig(ImageSizeConfig):
    """Only the image size."""
