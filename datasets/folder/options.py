"""The options of ``prepare folder``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from uadbench.core.config import LARGEST
from uadbench.core.errors import UnknownName, UserError, cut
from uadbench.data.preprocessing.intake import Intake

POLARITY = {"bright": 1, "dark": -1, "both": 0}


class Options(BaseModel):
    """The options that are not part of the scale.

    Attributes:
        polarity: Sign of the contrast of lesions, for methods that use it.
        healthy: Whether training uses only patients without lesions, or also lesion-free slices of others.
        gap: Slices omitted by ``healthy=slices`` on either side of a lesion.
        lesion: Values of masks that are lesions.
        skip_bad: Whether unusable files are skipped and counted.
        near_duplicates: Treatment of near-duplicates of different patients in different roles: "" groups them
            if the split is drawn and is an error if it is given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    polarity: Literal["", "bright", "dark", "both"] = ""
    healthy: Literal["patients", "slices"] = "patients"
    gap: int = Field(default=2, ge=0, le=10_000)
    lesion: tuple[Annotated[int, Field(ge=-LARGEST, le=LARGEST)], ...] = ()
    skip_bad: bool = False
    near_duplicates: Literal["", "error", "group", "drop"] = ""

    @field_validator("lesion", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return _parts(value)

    @property
    def sign(self) -> int:
        """The polarity as a sign, 0 for both or unknown."""
        return POLARITY.get(self.polarity, 0)


def read_options(given: dict[str, Any]) -> tuple[Options, Intake]:
    """Returns options and scale as specified.

    Raises:
        UnknownName: If there is no such option.
        UserError: Naming the option whose value is wrong.
    """
    scale = {"modality", "window", "hu", "colour", "body", "plane", "keep_aspect", "patient_pattern"}
    known = scale | set(Options.model_fields)
    for key in given:
        if key not in known:
            raise UnknownName("option of folder", key, known)
    told = {key: value for key, value in given.items() if key in scale}
    if "window" in told:
        told["window"] = _parts(told["window"])
    try:
        intake = Intake.model_validate(told)
        options = Options.model_validate({key: value for key, value in given.items() if key not in scale})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(
            f"--set {name}={cut(str(given.get(name)))} cannot be used: {cut(message, 200)}.",
            "See docs/how-to/own-data.md.",
        ) from (error)
    if intake.window and intake.window[0] >= intake.window[1]:
        raise UserError(f"--set window={cut(str(given['window']))} is empty.", "Write --set window=low,high.")
    return options, intake


def _parts(value: Any) -> Any:
    """Splits "2,3"; one number is a list of one."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value if isinstance(value, Sequence) else (value,)
