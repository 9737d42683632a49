"""The interfaces of a method and of the context that the runner passes to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import torch

from uadbench.core.config import MethodConfig
from uadbench.core.roles import Supervision
from uadbench.core.types import Batches, ImageBatch, ImageSpec, Prediction


class FitContext(Protocol):
    """The context passed to ``fit``: device, seeds, reports and checkpoints."""

    @property
    def device(self) -> torch.device:
        """Where to train."""
        ...

    @property
    def bf16(self) -> bool:
        """Whether to compute in bfloat16 (autocast) if it is accurate enough."""
        ...

    @property
    def channels_last(self) -> bool:
        """Whether images and convolution weights use channels last, which is faster on some machines."""
        ...

    def generator(self, *key: str | int) -> torch.Generator:
        """Returns a CPU generator seeded from the run's seed and the key, e.g. ``("step", 17)``."""
        ...

    def steps(self, phase: str, start: int, total: int) -> Iterable[int]:
        """Yields the step numbers start..total-1 under a progress bar."""
        ...

    def report(self, step: int, **scalars: float) -> None:
        """Logs scalars (and prunes when tuning).

        Raises:
            Diverged: If a scalar is not finite.
        """
        ...

    def resume(self, phase: str, **parts: Any) -> int:
        """Loads each part's state (``load_state_dict``) from the newest checkpoint of the phase.

        Returns:
            The number of completed steps (0 for a fresh start).
        """
        ...

    def checkpoint(self, phase: str, step: int, **parts: Any) -> None:
        """Offers the state of the parts after ``step`` finished steps; the runner decides whether to write."""
        ...


BatchWithNoise = tuple[ImageBatch, Sequence[torch.Generator]]
"""Images, and one CPU generator per image."""


@runtime_checkable
class Method(Protocol):
    """An anomaly detection method. It owns its training loops and optimisers.

    A method that uses the sign of the expected lesion contrast has an attribute ``polarity`` (+1 or -1), which the
    supervision ledger counts as a prior.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    supervision: ClassVar[Supervision]
    config_type: ClassVar[type[MethodConfig]]

    @classmethod
    def build(cls, config: Any, spec: ImageSpec) -> Self:
        """Creates an untrained method.

        Raises:
            UserError: If the config does not suit the images.
        """
        ...

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        """Learns from healthy images (and, if supervised, from ``labelled``)."""
        ...

    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Scores images. ``noise`` holds one CPU generator per image, so no image depends on the other images."""
        ...

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Returns everything that was learnt, as tensors."""
        ...

    def load_state_dict(self, state: Mapping[str, torch.Tensor], /) -> object:
        """Loads the result of ``state_dict``."""
        ...

    def to(self, device: torch.device, /) -> Self:
        """Moves the method to a device."""
        ...


@runtime_checkable
class StreamingMethod(Method, Protocol):
    """A method whose network calls can be shared by images of different batches (optional).

    The runner then passes a whole role as a stream. The predictions are bit-equal to those of ``predict`` if the
    network calls have the same shape; the conformance kit checks it.
    """

    def predict_many(self, batches: Iterable[BatchWithNoise], size: int) -> Iterator[Prediction]:
        """Scores a stream of batches.

        Args:
            batches: Images with their generators; read only as far as needed to fill the calls.
            size: Images in each network call; a batch may be smaller.

        Yields:
            One prediction per batch, in order.
        """
        ...


@runtime_checkable
class TakesCheckpoints(Protocol):
    """A method whose weights can be imported from a checkpoint of another code (optional)."""

    @classmethod
    def checkpoint_settings(cls, state: Mapping[str, torch.Tensor], size: int) -> dict[str, Any]:
        """Returns the config values implied by the names and shapes in a checkpoint, for images of ``size`` pixels.

        Raises:
            DataError: If it is of another kind of network.
        """
        ...

    def take_checkpoint(self, state: Mapping[str, torch.Tensor]) -> None:
        """Loads the weights after comparing every key and shape.

        Raises:
            DataError: If a key or shape is not that of the network.
        """
        ...


@runtime_checkable
class Compilable(Protocol):
    """A part of a method that can call its network through torch.compile.

    Attributes:
        compile_error: Why compiling failed, in one line, after which the network is called as it is; "" otherwise.
    """

    @property
    def compile_error(self) -> str:
        """Why compiling failed."""
        ...

    def compile_calls(self) -> None:
        """Passes all later calls of the network through torch.compile."""
        ...
