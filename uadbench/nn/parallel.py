"""Data-parallel training with the result of a single device: only the network's batch is divided.

Each process draws the same batch and noise, passes its own rows through the network, and gathers all
outputs. The loss on every process is then that of the whole batch, and the sum of the processes' gradients is
that of the whole batch (up to rounding). Without a process group this has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from uadbench.core.errors import UserError


@contextmanager
def divided(network: nn.Module) -> Generator[Callable[[], None]]:
    """Divides the batches of a network among the processes inside the block.

    A network that depends on the whole batch (batch normalisation) is not divided, nor is one that is not called
    through its own ``forward``: every process then computes everything, with the same result.

    Args:
        network: Network under training. All of its gradients must come through its ``forward``.

    Yields:
        Function that sums the gradients of all processes, to call between ``backward`` and the optimiser's step.

    Raises:
        UserError: In the block, if a batch cannot be divided.
    """
    world = distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
    if world == 1 or any(isinstance(module, _BatchNorm) for module in network.modules()):
        yield lambda: None
        return
    share = _Share(distributed.get_rank(), world)
    handles = [
        network.register_forward_pre_hook(share.take_rows, with_kwargs=True),
        network.register_forward_hook(share.gather),
    ]
    try:
        yield lambda: share.add_gradients(network)
    finally:
        for handle in handles:
            handle.remove()


class _Share:
    """Rank and number of processes.

    Args:
        rank: Index of this process.
        world: Number of processes.
    """

    def __init__(self, rank: int, world: int) -> None:
        self.rank = rank
        self.world = world
        self._called = False

    def take_rows(
        self, module: nn.Module, values: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self._called = True
        return tuple(map(self._rows, values)), {name: self._rows(value) for name, value in named.items()}

    def _rows(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if len(value) % self.world:
            raise UserError(
                f"A batch of {len(value)} images cannot be divided among {self.world} processes.",
                f"Make the batch size a multiple of {self.world}: --set batch_size={self.world * 4}.",
            )
        return value.chunk(self.world)[self.rank]

    def gather(self, module: nn.Module, values: tuple[Any, ...], own: Tensor) -> Tensor:
        # In float32, because not every backend supports bfloat16.
        message = own.detach().float().contiguous()
        parts = [torch.empty_like(message) for _ in range(self.world)]
        distributed.all_gather(parts, message)
        # The rows of other processes are constants here; their gradients are computed there.
        rows = [part.to(own.dtype) for part in parts]
        rows[self.rank] = own
        return torch.cat(rows)

    def add_gradients(self, network: nn.Module) -> None:
        if not self._called:
            return
        self._called = False
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        # One message for all, because small messages are limited by latency.
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        for gradient, total in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(total.view_as(gradient))
