"""Settings of ``equalized``."""

from __future__ import annotations

from uadbench.core.config import ImageSizeConfig


class EqualizedConfig(ImageSizeConfig):
    """The size of the images; nothing else is set."""
