"""Seeds derived by hash from named parts, so that no global random state exists."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(*parts: str | int) -> int:
    """Returns a seed in [0, 2**63) that depends on every part and on their order.

    Args:
        parts: What the random numbers are for, e.g. ``("train", 0, "step", 17)``.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(*parts: str | int) -> np.random.Generator:
    """Returns a NumPy generator seeded from named parts."""
    return np.random.default_rng(derive_seed(*parts))


def torch_generator(*parts: str | int) -> torch.Generator:
    """Returns a CPU torch generator seeded from named parts.

    Random numbers are drawn on the CPU so that a result does not depend on the device.
    """
    import torch

    return torch.Generator().manual_seed(derive_seed(*parts))
