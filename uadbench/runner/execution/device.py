"""The device of a run."""

from __future__ import annotations

import torch

from uadbench.core.errors import UserError


def pick_device(name: str) -> torch.device:
    """Returns the device for ``auto | cpu | cuda``.

    Raises:
        UserError: If CUDA is requested but not available.
    """
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    if name == "cuda" and not available:
        raise UserError("No CUDA device is available.", "Use --device cpu.")
    if name not in ("cpu", "cuda"):
        raise UserError(f"Unknown device '{name}'.", "Use auto, cpu or cuda.")
    return torch.device(name)
