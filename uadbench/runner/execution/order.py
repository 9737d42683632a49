"""Messages between an isolated run and its child, besides arrays."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

FIT, PREDICT, PROBE = "fit", "predict", "probe"
ORDER, RESULT, FAILED = "order.json", "result.json", "failed.txt"

_Number = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class Order(BaseModel):
    """Task for the child.

    Attributes:
        method: Registry name.
        config: Its resolved config.
        spec: Shape of the images, the fields of an ``ImageSpec``.
        seed: Seed of training and inference.
        device: cpu or cuda.
        numerics: Number format and layout, as text.
        batch: Padded batch size of prediction.
        threads: Threads of torch, as many as the parent has: numbers may depend on it.
        checkpoint_seconds: Minimum time between checkpoints.
        title: Text of the progress bar on stderr, "" for none.
        later: Seconds of prediction for each second of training, for the time left; None if unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    config: dict[str, Any]
    spec: dict[str, int]
    seed: int
    device: str
    numerics: str
    batch: int
    threads: int
    checkpoint_seconds: float
    title: str
    later: float | None


class Outcome(BaseModel):
    """The child's report on a phase; it is shown, and no number is computed from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: _Number
    peak_gb: _Number
    numerics: Annotated[str, Field(max_length=40)] = ""
    notes: Annotated[list[Annotated[str, Field(max_length=300)]], Field(max_length=10)] = Field(
        default_factory=list[str]
    )
