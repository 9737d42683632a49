"""Settings of ``intensity``."""

from __future__ import annotations

from uadbench.core.config import ImageSizeConfig


class IntensityConfig(ImageSizeConfig):
    """The size of the images; nothing else is set."""
