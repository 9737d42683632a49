"""Config of ``random``: nothing but the size of the images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from uadbench.core.config import MethodConfig


class RandomConfig(MethodConfig):
    """The baseline has no parameter of its own."""

    INFERENCE: ClassVar[frozenset[str]] = frozenset()
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {"image_size": 32},
        "quick": {"image_size": 64},
        "standard": {"image_size": 128},
        "paper": {"image_size": 128},
    }
