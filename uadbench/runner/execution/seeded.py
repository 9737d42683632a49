"""Building a method with initial weights that depend only on the seed."""

from __future__ import annotations

import torch

from uadbench.core.catalog import METHODS
from uadbench.core.config import MethodConfig
from uadbench.core.method import Method
from uadbench.core.seeding import derive_seed
from uadbench.core.types import ImageSpec


def build_seeded(name: str, config: MethodConfig, spec: ImageSpec, seed: int) -> Method:
    """Builds an untrained method by name; its initial weights depend only on the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("init", seed))
        return METHODS.load(name).build(config, spec)
