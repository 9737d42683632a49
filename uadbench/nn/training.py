"""A plain training loop: one network, one optimiser, one loss, resumable at every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from uadbench.core.method import FitContext
from uadbench.nn.parallel import divided

Schedule = Literal["constant", "cosine"]


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draws all weights anew from a generator, leaving the global random state as it was.

    Every layer is reset by its own ``reset_parameters``, on the CPU so that the weights do not depend on the device.

    Args:
        network: Its layers are on the CPU afterwards.
        generator: Only its initial seed is used.
    """
    network.cpu()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        for module in network.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()


def learning_rate(base: float, step: int, total: int, schedule: Schedule) -> float:
    """Returns the learning rate of a step: a function of the step alone, so that a resumed fit needs no state."""
    if schedule == "constant":
        return base
    return base * 0.5 * (1 + math.cos(math.pi * step / total))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def set_memory_format(network: nn.Module, memory_format: torch.memory_format) -> None:
    """Lays out all convolution weights in a format, which their outputs then follow; values do not change."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)


def train_network(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: Callable[[torch.Generator], Mapping[str, Tensor]],
    *,
    run: FitContext,
    phase: str,
    steps: int,
    lr: float,
    schedule: Schedule = "constant",
) -> None:
    """Trains until ``steps`` steps are done, going on from the newest checkpoint, and leaves ``network`` in eval mode.

    Where the run asks for bfloat16, the losses are computed under autocast with weights laid out channels-last.

    Args:
        network: What is trained, on ``run.device``.
        optimizer: Optimiser over the network's parameters.
        losses: Maps a step's generator to named scalars; ``loss`` is the one that is minimised, all are reported.
        run: Device, seeds, reports and checkpoints.
        phase: Name of the phase.
        steps: Number of steps.
        lr: Learning rate at step 0.
        schedule: How the learning rate falls.

    Raises:
        Diverged: If a loss is not finite.
    """
    start = run.resume(phase, model=network, optimizer=optimizer)
    if run.bf16:
        set_memory_format(network, torch.channels_last)
    network.train()
    with divided(network) as add_gradients:
        for step in run.steps(phase, start, steps):
            set_learning_rate(optimizer, learning_rate(lr, step, steps, schedule))
            with torch.autocast(run.device.type, torch.bfloat16, enabled=run.bf16):
                values = losses(run.generator(phase, step))
            run.report(step, **{name: value.item() for name, value in values.items()})
            optimizer.zero_grad(set_to_none=True)
            values["loss"].backward()
            add_gradients()
            optimizer.step()
            run.checkpoint(phase, step + 1, model=network, optimizer=optimizer)
    set_memory_format(network, torch.contiguous_format)  # as weights are saved
    network.eval()
