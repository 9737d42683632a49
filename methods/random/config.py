"""Settings of ``random``."""

from __future__ import annotations

from uadbench.core.config import ImageSizeConfig


class RandomConfig(ImageSizeConfig):
    """The size of the images; nothing else is set."""
