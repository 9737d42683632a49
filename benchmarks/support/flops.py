"""Floating-point operations of the convolutions and matrix products in a piece of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Flops(TorchDispatchMode):
    """Counts by the formulas of ``torch.utils.flop_counter``.

    Its ``FlopCounterMode`` also tells modules apart, by hooks that fail on a gradient of a gradient (f-AnoGAN's
    penalty).

    Attributes:
        total: Operations so far; a multiplication and an addition are two.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Counts an operation, or what it consists of."""
        kwargs = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None and func is not torch.ops.prim.device.default:
            with self:  # in inference mode composite operations arrive whole
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=result)
        return result


def operations(call: Callable[[], object]) -> float:
    """Returns the floating-point operations of the convolutions and matrix products in a call."""
    with Flops() as counter:
        call()
    return counter.total
