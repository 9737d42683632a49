"""Settings of ``position``."""

from __future__ import annotations

from uadbench.core.config import ImageSizeConfig


class PositionConfig(ImageSizeConfig):
    """The size of the images; nothing else is set."""
