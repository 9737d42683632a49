"""The definition of a study, and the data for its workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from uadbench.core.job import Seed
from uadbench.core.roles import Role
from uadbench.data.simulation.mixture import MIXTURE, VERSION

Objective = Literal["synthetic", "val"]
Measure = Literal["ap", "dice"]
Pruner = Literal["median", "hyperband", "none"]


class StudyTask(BaseModel):
    """A study. Everything except the budget and the storage defines it and is stored with it.

    Attributes:
        method: Registry name.
        dataset: Registry name.
        store: Folder of the prepared data or of the phantom.
        preset: Preset under the tuned values.
        objective: Lesions to tune on: synthetic ones on calib (no labels), or those of val.
        measure: Patient-mean case AP, or Dice at the threshold of 1 % healthy false positives.
        max_healthy_fp: Constraint on false positives of healthy images, None for none.
        with_time: Also minimise the time per image.
        pruner: Pruner for fits that fall behind.
        settings: Inference settings tried per fit.
        images: Maximum number of images of each kind to evaluate.
        seed: Seed of training, inference and sampling.
        name: Name of the study.
        storage: Address of the database; may contain a password, so it is never written.
        trials: Total number of slots.
        folder: Folder for fits and the page.
        device: auto, cpu or cuda.
        workers: Processes on this machine.
        timeout: Seconds after which no new trial starts, None for no limit.
        beat: Seconds between heartbeats of a trial.
        grace: Seconds without one after which its worker counts as dead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    dataset: str
    store: Path
    preset: str = "quick"
    objective: Objective = "synthetic"
    measure: Measure = "ap"
    max_healthy_fp: float | None = Field(default=None, gt=0, lt=1)
    with_time: bool = False
    pruner: Pruner = "median"
    settings: int = Field(default=5, ge=1, le=1000)
    images: int = Field(default=256, ge=1, le=1_000_000)
    seed: Seed = 0
    name: str
    storage: str = Field(repr=False)
    trials: int = Field(ge=1, le=100_000)
    folder: Path
    device: str = "auto"
    workers: int = Field(default=1, ge=1, le=1024)
    timeout: float | None = Field(default=None, ge=0, le=1e8)
    beat: int = Field(default=10, ge=1)
    grace: int = Field(default=60, ge=1)

    @property
    def roles(self) -> set[Role]:
        """Roles that the tuner opens; ``labelled`` is empty for it unless the method is supervised."""
        return {Role.TRAIN, Role.CALIB, Role.LABELLED} | ({Role.VAL} if self.objective == "val" else set())

    def definition(self, head: dict[str, Any], space: str, method_version: str) -> dict[str, Any]:
        """Returns what must be the same for a study to be continued."""
        keys = {"method", "preset", "objective", "measure", "max_healthy_fp", "with_time", "pruner", "settings"}
        return {
            **self.model_dump(mode="json", include={*keys, "images", "seed"}),
            # The synthetic lesions: a study with others is a different study.
            "lesions": f"{MIXTURE} {VERSION}" if self.objective == "synthetic" else "val",
            "method_version": method_version,
            "data": head,
            "space": space,
        }
