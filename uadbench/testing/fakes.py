"""Minimal inputs of a method: batches in memory and a context without a runner."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from uadbench.core.errors import Diverged
from uadbench.core.numerics import PLAIN, Numerics
from uadbench.core.seeding import derive_seed, torch_generator
from uadbench.core.types import ImageBatch, ImageSpec, TrainBatch


class InMemoryBatches:
    """Images in memory as ``Batches``.

    Args:
        images: All images, with masks only for supervised methods.
        spec: Their shape.
    """

    def __init__(self, images: TrainBatch, spec: ImageSpec) -> None:
        self._images = images
        self._spec = spec

    @property
    def spec(self) -> ImageSpec:
        """Shape of the images."""
        return self._spec

    def __len__(self) -> int:
        return len(self._images.images)

    def sample(self, batch_size: int, generator: torch.Generator) -> TrainBatch:
        """Draws images uniformly with replacement."""
        return self._select(torch.randint(len(self), (batch_size,), generator=generator).tolist())

    def epoch(self, batch_size: int) -> Iterator[TrainBatch]:
        """Passes once over all images in order."""
        for start in range(0, len(self), batch_size):
            yield self._select(range(start, min(start + batch_size, len(self))))

    def _select(self, index: Sequence[int]) -> TrainBatch:
        rows, mask = list(index), self._images.mask
        return TrainBatch(self._images.images.select(rows), None if mask is None else mask[rows])


class Interrupted(Exception):
    """Raised by ``LocalFitContext`` at the requested step, as if the process had been killed."""


class LocalFitContext:
    """A ``Run`` without a runner: no progress bar, no record.

    Args:
        seed: Seed of all generators.
        device: Where to train.
        numerics: Number format and layout to compute in.
        folder: Folder for checkpoints; None for in memory.
        every: Steps between checkpoints; the last one of a phase is always kept.
        interrupt_after: Raises ``Interrupted`` after this many finished steps, counted over all phases.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        device: torch.device | str = "cpu",
        numerics: Numerics = PLAIN,
        folder: Path | None = None,
        every: int = 1,
        interrupt_after: int | None = None,
    ) -> None:
        self.seed = seed
        self.history: list[tuple[int, Mapping[str, float]]] = []
        self.finished = 0
        self.interrupt_after = interrupt_after
        self._device = torch.device(device)
        self._numerics = numerics
        self._folder = folder
        self._every = every
        self._kept: dict[str, bytes] = {}
        self._totals: dict[str, int] = {}

    @property
    def device(self) -> torch.device:
        """Where to train."""
        return self._device

    @property
    def bf16(self) -> bool:
        """Whether to compute in bfloat16."""
        return self._numerics.bf16

    @property
    def channels_last(self) -> bool:
        """Whether to lay weights out channels last."""
        return self._numerics.channels_last

    def generator(self, *key: str | int) -> torch.Generator:
        """Returns a CPU generator seeded from the run's seed and the key."""
        return torch_generator("fit", self.seed, *key)  # as the runner derives them

    def steps(self, phase: str, start: int, total: int) -> Iterator[int]:
        """Yields start..total-1 and, like the runner, reseeds the global generator at each step (for dropout)."""
        self._totals[phase] = total
        for step in range(start, total):
            torch.manual_seed(derive_seed("global", self.seed, phase, step))
            yield step

    def report(self, step: int, **scalars: float) -> None:
        """Keeps the scalars in ``history``.

        Raises:
            Diverged: If one is not finite.
        """
        for value in scalars.values():
            if not math.isfinite(value):
                raise Diverged(step, value)
        self.history.append((step, scalars))

    def resume(self, phase: str, **parts: Any) -> int:
        """Loads the newest checkpoint of the phase into the parts; returns its number of finished steps."""
        data = self._read(phase)
        if data is None:
            return 0
        saved = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved["parts"][name])
        return int(saved["step"])

    def checkpoint(self, phase: str, step: int, **parts: Any) -> None:
        """Keeps the state of the parts every so many steps and at the end of the phase.

        Raises:
            Interrupted: At the requested step.
        """
        if step % self._every == 0 or step == self._totals.get(phase):
            buffer = io.BytesIO()
            torch.save({"step": step, "parts": {name: part.state_dict() for name, part in parts.items()}}, buffer)
            self._write(phase, buffer.getvalue())
        self.finished += 1
        if self.finished == self.interrupt_after:
            raise Interrupted(f"{phase}, step {step}")

    def _read(self, phase: str) -> bytes | None:
        if self._folder is None:
            return self._kept.get(phase)
        file = self._folder / f"{phase}.pt"
        return file.read_bytes() if file.exists() else None

    def _write(self, phase: str, data: bytes) -> None:
        if self._folder is None:
            self._kept[phase] = data
        else:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / f"{phase}.pt").write_bytes(data)


def image_generators(images: ImageBatch, seed: int = 0) -> list[torch.Generator]:
    """Returns one CPU generator per image, seeded from its uid, as the runner passes them to ``predict``."""
    return [torch_generator(seed, "predict", uid) for uid in images.uid]
