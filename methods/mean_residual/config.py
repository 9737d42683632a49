"""Settings of ``mean_residual``."""

from __future__ import annotations

from typing import ClassVar

from uadbench.core.config import ImageSizeConfig, ResidualConfig


class MeanResidualConfig(ImageSizeConfig, ResidualConfig):
    """Image size and sign of the residual."""

    INFERENCE: ClassVar[frozenset[str]] = frozenset({"signed"})
