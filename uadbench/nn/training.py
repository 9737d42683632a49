"""The training loop of all networks: one optimiser, one loss, resumable at every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from uadbench.core.method import FitContext
from uadbench.core.types import ImageBatch, TrainBatch
from uadbench.nn.config import Schedule
from uadbench.nn.parallel import divided

Draw = Callable[[torch.Generator], TrainBatch]
Losses = Callable[[TrainBatch, torch.Generator], Mapping[str, Tensor]]


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Re-initialises all weights from a generator without changing the global random state.

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
    """Returns the learning rate of a step, a function of the step only, so that a resumed fit needs no state.

    It stays constant, or falls to zero at ``total``: linearly, or along half a cosine.
    """
    if schedule == "constant":
        return base
    if schedule == "linear":
        return base * (1 - step / total)
    return base * 0.5 * (1 + math.cos(math.pi * step / total))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def mirrored(batch: TrainBatch, axes: Sequence[int], generator: torch.Generator) -> TrainBatch:
    """Mirrors each image with its body and mask, with probability 1/2 per axis.

    Args:
        batch: The batch; returned unchanged without axes.
        axes: -1 for left to right, -2 for top to bottom.
        generator: CPU generator of the step.
    """
    image, body, mask = batch.images.image, batch.images.body, batch.mask
    for axis in axes:
        chosen = (torch.rand(len(image), 1, 1, 1, generator=generator, device="cpu") < 0.5).to(image.device)
        image, body = torch.where(chosen, image.flip(axis), image), torch.where(chosen, body.flip(axis), body)
        mask = None if mask is None else torch.where(chosen, mask.flip(axis), mask)
    return TrainBatch(ImageBatch(batch.images.uid, image, body), mask)


def train_network(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    draw: Draw,
    losses: Losses,
    *,
    run: FitContext,
    phase: str,
    steps: int,
    lr: float,
    schedule: Schedule = "constant",
    mirror: Sequence[int] = (),
    clip: float | None = None,
    autocast: bool = True,
) -> None:
    """Trains until ``steps`` steps are done, resuming from the newest checkpoint, and leaves ``network`` in eval mode.

    If the run requests it, weights use channels last and the losses are computed under autocast.

    Args:
        network: Network to train, on ``run.device``.
        optimizer: Optimiser over the network's parameters.
        draw: Draws the batch of a step from the step's generator.
        losses: Maps a batch on ``run.device`` and the step's generator to named scalars; ``loss`` is the one that is
            minimised, all are reported.
        run: Device, seeds, reports and checkpoints.
        phase: Name of the phase.
        steps: Number of steps.
        lr: Learning rate at step 0.
        schedule: How the learning rate falls.
        mirror: Axes of random mirroring: -1 left to right, -2 top to bottom.
        clip: Largest norm of the gradient; None for no limit.
        autocast: False for a network that handles its precision itself, so that the rest of the loss remains float32.

    Raises:
        Diverged: If a loss is not finite.
    """
    start = run.resume(phase, model=network, optimizer=optimizer)
    if run.channels_last:
        network.to(memory_format=torch.channels_last)
    network.train()
    with divided(network) as add_gradients:
        for step in run.steps(phase, start, steps):
            set_learning_rate(optimizer, learning_rate(lr, step, steps, schedule))
            generator = run.generator(phase, step)
            batch = mirrored(draw(generator).to(run.device), mirror, generator)
            with torch.autocast(run.device.type, torch.bfloat16, enabled=run.bf16 and autocast):
                values = losses(batch, generator)
            run.report(step, **{name: value.item() for name, value in values.items()})
            optimizer.zero_grad(set_to_none=True)
            values["loss"].backward()
            add_gradients()
            if clip is not None:
                nn.utils.clip_grad_norm_(network.parameters(), clip)
            optimizer.step()
            run.checkpoint(phase, step + 1, model=network, optimizer=optimizer)
    network.to(memory_format=torch.contiguous_format)  # as weights are saved
    network.eval()
