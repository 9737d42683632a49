"""Data-parallel training that gives what one device gives: the network's batch is divided, everything else is not.

Each process draws the same batch and the same noise, passes its own rows through the network, and gathers the outputs
of all. The loss is then the whole batch's on every process, whatever it is, and the sum of the processes' gradients is
the whole batch's gradient (up to rounding). Without a process group nothing here does anything.
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
    """Divides the batches of a network among the processes while the block lasts.

    A network that looks at its batch as a whole (batch normalisation) is left alone, and so is one that is not called
    through its own ``forward``: every process then does the whole work, with the same result.

    Args:
        network: What is trained. All of its gradients must come through its ``forward``.

    Yields:
        To be called between ``backward`` and the optimiser's step: adds up the gradients of all processes.

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
    """The part of a process.

    Args:
        rank: Number of this process.
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
        # In float32: not every backend passes bfloat16 on.
        message = own.detach().float().contiguous()
        parts = [torch.empty_like(message) for _ in range(self.world)]
        distributed.all_gather(parts, message)
        # The others' rows are constants here; their gradients arise where they were computed.
        rows = [part.to(own.dtype) for part in parts]
        rows[self.rank] = own
        return torch.cat(rows)

    def add_gradients(self, network: nn.Module) -> None:
        if not self._called:
            return
        self._called = False
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        # One message for all: latency, not bandwidth, is what small messages cost.
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        for gradient, total in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(total.view_as(gradient))
