"""One job on several GPUs or machines, started by torchrun: the first process runs it, the others help to fit.

``torchrun --nproc-per-node 4 -m uadbench run ...``; docs/how-to/cluster.md lists which methods it speeds up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from uadbench.core.errors import JobFailed
from uadbench.core.numerics import CHOICES, Numerics
from uadbench.runner.execution.device import pick_device
from uadbench.runner.execution.fit import fit_on_store
from uadbench.runner.execution.fit_context import RunFitContext
from uadbench.runner.execution.run import build_method
from uadbench.runner.planning.plan import Plan
from uadbench.runner.storage.run_folder import RunFolder

NOTHING = 0  # otherwise one plus the position of the numerics in CHOICES

# Maximum time that a process waits for the others; torchrun ends all of them if one dies.
PATIENCE = timedelta(hours=2)

Announce = Callable[[Numerics], None]


@contextmanager
def team(plan: Plan, root: Path, device: str) -> Generator[Announce | None]:
    """Joins the processes that torchrun started.

    Args:
        plan: The job, the same in every process.
        root: Parent folder of the runs, accessible to every process: the helpers read checkpoints there.
        device: auto, cpu or cuda.

    Yields:
        In the first process, and in one that was started alone, what ``execute`` calls before it fits; in the others
        None, once they have helped.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield lambda _: None
        return
    # Imported lazily: it takes two seconds, which single processes do not need to spend.
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    here = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    fabric = Fabric(
        accelerator=pick_device(device).type,
        devices=here,
        num_nodes=world // here,
        strategy=DDPStrategy(timeout=PATIENCE),
    )
    fabric.launch()
    told = False

    def announce(numerics: Numerics) -> None:
        nonlocal told
        told = True
        _broadcast(fabric.device, 1 + CHOICES.index(numerics))

    try:
        if fabric.global_rank > 0:
            order = _broadcast(fabric.device, NOTHING)
            if order != NOTHING:
                _help(plan, root, fabric.device, CHOICES[order - 1])
            yield None
            return
        try:
            yield announce
        finally:
            if not told:
                _broadcast(fabric.device, NOTHING)
    finally:
        distributed.destroy_process_group()


def _broadcast(device: torch.device, order: int) -> int:
    """Broadcasts the first process's order and returns it."""
    message = torch.tensor(order, device=device)
    distributed.broadcast(message, 0)
    return int(message)


def _help(plan: Plan, root: Path, device: torch.device, numerics: Numerics) -> None:
    """Takes part in the fit; only the first process stores the result or failure."""
    run = RunFitContext(_ReadOnly(root / plan.job.id), plan.job.seed, device, numerics, None)
    try:
        fit_on_store(build_method(plan, device), plan.train, plan.spec, plan.config, plan.job.seed, run)
    except JobFailed:
        return


class _ReadOnly(RunFolder):
    """The run's folder in a helper: checkpoints can be read, nothing is written."""

    def save_checkpoint(self, phase: str, content: Any) -> None:
        """Leaves writing to the first process."""

    def log(self, **entry: Any) -> None:
        """Leaves writing to the first process."""
