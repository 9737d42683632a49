"""Calls of networks through torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class CompiledCalls:
    """Compiles each network at its first call; where that fails, networks are called as they are, for good.

    Random numbers inside a network stay those of torch, so that only rounding differs from uncompiled calls.

    Attributes:
        error: Why compiling failed, in one line; "" while it has not.
    """

    def __init__(self) -> None:
        self.error = ""
        self._known: list[tuple[nn.Module, Callable[..., Tensor]]] = []

    def __call__(self, network: nn.Module, *inputs: Tensor | None) -> Tensor:
        """Returns what the network gives for the inputs."""
        if self.error:
            return network(*inputs)
        from torch._dynamo.exc import TorchDynamoException  # takes seconds to import

        try:
            return self._compiled(network)(*inputs)
        except TorchDynamoException as error:
            self.error = _first_line(error)
            self._known.clear()
        return network(*inputs)

    def _compiled(self, network: nn.Module) -> Callable[..., Tensor]:
        for known, compiled in self._known:
            if known is network:
                return compiled
        compiled: Any = torch.compile(network, dynamic=False, options={"fallback_random": True})
        # one to train and one to predict: a third replaces a cast of weights that have changed since
        self._known = [*self._known[-1:], (network, compiled)]
        return compiled


def _first_line(error: BaseException) -> str:
    """Returns the kind of an error and the first line of what it says, at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]
