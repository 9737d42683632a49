"""A job: everything that defines a run, frozen, with an id that hashes it."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from uadbench.core.catalog import METHODS
from uadbench.core.errors import UserError, cut
from uadbench.core.record import MAX_SEED, DatasetPart, MethodPart, ProtocolPart, stable_hash

_SYSTEM = re.compile(r"[a-z][a-z0-9_]{0,59}")

Precision = Literal["auto", "fp32", "bf16"]

Compile = Literal["auto", "on", "off"]
"""Whether networks are called through torch.compile: no part of a job, since only rounding differs."""

Seed = Annotated[int, Field(ge=0, lt=MAX_SEED)]
"""Of training and inference."""

EXTERNAL = "external"
"""Preset of records whose maps come from elsewhere."""


def check_seed(seed: int) -> int:
    """Returns the seed if it may be one.

    Raises:
        UserError: If it is negative or too large.
    """
    if not 0 <= seed < MAX_SEED:
        raise UserError(f"Seed {cut(str(seed))} is not allowed.", f"Use a whole number from 0 to {MAX_SEED - 1}.")
    return seed


def check_system_name(name: str) -> None:
    """Checks the name of an external system.

    Raises:
        UserError: If the name is not one, or that of a method here.
    """
    if not _SYSTEM.fullmatch(name):
        raise UserError(f"The name '{name}' is not allowed.", "Use lower case letters, digits and underscores.")
    if name in METHODS.names():
        raise UserError(f"'{name}' is a method of this benchmark.", f"Use another name, for example {name}_ours.")


class Job(BaseModel):
    """What to run. Two jobs with equal fields have the same id, on any machine.

    Attributes:
        method: Method with its resolved config.
        dataset: Data to train and calibrate on, with its fingerprint.
        test_on: Data to test on if it is another cohort.
        protocol: Rules of scoring.
        seed: Seed of training and inference; does not affect the data.
        precision: Requested precision; the choice of "auto" is in the record.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: MethodPart
    dataset: DatasetPart
    test_on: DatasetPart | None = None
    protocol: ProtocolPart
    seed: Seed = 0
    precision: Precision = "auto"

    @cached_property
    def id(self) -> str:
        """Hash of all that defines the job (16 hex digits)."""
        definition = self.model_dump(mode="json")
        for part in ("dataset", "test_on"):
            if definition[part] is not None:
                # what they change is in the config
                for key in ("notes", "modality", "polarity"):
                    definition[part].pop(key)
        return stable_hash(definition)


def method_label(name: str, preset_config: dict[str, Any], config: dict[str, Any], *, tuned: bool = False) -> str:
    """Returns the row's name: the method with every value that differs from its preset, e.g. ``ddpm[noise=coarse]``.

    Tuned values are shown as ``tuned``. A method that could use pretrained weights and does not says so even where its
    preset does.
    """
    shown = {key: value for key, value in config.items() if value != preset_config.get(key)}
    if config.get("pretrained") is False:
        shown["pretrained"] = False
    if not shown:
        return f"{name}[tuned]" if tuned else name
    text = ",".join(f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in shown.items())
    return f"{name}[tuned,{text}]" if tuned else f"{name}[{text}]"
