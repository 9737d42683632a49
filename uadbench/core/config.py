"""Frozen configs: defaults < preset < published < tuned file < ``--set key=value``; unknown keys are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from uadbench.core.errors import UnknownName, UserError, cut
from uadbench.core.published import Applied, PublishedValues, applied
from uadbench.core.reading import bounded, parse_yaml

LARGEST = 10**9  # of any number in a config
PRESET_NAMES = ("smoke", "quick", "standard", "paper")


def is_result(preset: str) -> bool:
    """Whether runs of a preset count as results; those of ``smoke`` show only that everything works."""
    return preset != "smoke"


class MethodConfig(BaseModel):
    """Base of every method's config.

    Attributes:
        image_size: Side of the square the images are resized to, in pixels.
        predict_batch: Batch size of prediction; fixed so that no image depends on the other images in its batch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    # Keys that affect only prediction: runs that differ in nothing else share one fit.
    INFERENCE: ClassVar[frozenset[str]] = frozenset()
    # Values that the authors published by modality and organ; they override the preset.
    PUBLISHED: ClassVar[Sequence[PublishedValues]] = ()

    image_size: int = Field(default=128, ge=16, le=1024)
    predict_batch: int = Field(default=16, ge=1, le=1024)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        """Bounds every value, in addition to the constraints of a method's fields."""
        for name in type(self).model_fields:
            try:
                bounded(getattr(self, name), LARGEST)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return self

    @property
    def images_seen(self) -> int:
        """Total number of training images drawn, including repeats; 0 if the method draws none."""
        steps = int(getattr(self, "steps", 0)) * int(getattr(self, "batch_size", 0))
        return int(getattr(self, "train_images", steps))

    @property
    def imported(self) -> str:
        """Identifier of the checkpoint that the weights come from, "" if the method is fitted here."""
        return ""

    @classmethod
    def resolve(
        cls,
        preset: str,
        tuned: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        published: Mapping[str, Any] | None = None,
    ) -> Self:
        """Returns the config of a preset, overridden by published values, tuned values and overrides, in this order.

        Raises:
            UnknownName: If the preset or a key does not exist.
            UserError: If a value is not allowed.
        """
        if preset not in PRESET_NAMES:
            raise UnknownName("preset", preset, PRESET_NAMES)
        values = {**cls.PRESETS.get(preset, {}), **(published or {}), **(tuned or {}), **(overrides or {})}
        for key in values:
            if key not in cls.model_fields:
                raise UnknownName("config key", key, cls.model_fields)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or cls.__name__
            given = f"{cut(key)}={cut(repr(first.get('input')))}" if first["loc"] else f"of {key}"
            raise UserError(f"Config value {given} is not allowed: {first['msg']}.") from error

    @classmethod
    def published(cls, preset: str, modality: str, polarity: int) -> Applied:
        """Returns the published values that apply to a preset on images of a modality (see ``published.applied``)."""
        return applied(cls.PUBLISHED, preset, modality, polarity)


class ResidualConfig(MethodConfig):
    """Settings shared by methods that score a residual.

    Attributes:
        signed: Score only what differs in the direction that lesions are known to have, bright or dark; the data must
            tell it. Plain rows score both.
    """

    signed: bool = False


class ImageSizeConfig(MethodConfig):
    """Config of the trivial baselines, whose only setting is the image size."""

    INFERENCE: ClassVar[frozenset[str]] = frozenset()
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {"image_size": 32},
        "quick": {"image_size": 64},
        "standard": {"image_size": 128},
        "paper": {"image_size": 128},
    }


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """Parses ``key=value`` pairs; values are read as YAML scalars or lists.

    Raises:
        UserError: If a pair has no '=' or its value is not valid.
    """
    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key.strip():
            raise UserError(f"--set {cut(repr(pair))} is not of the form key=value.", "Write for example --set t=200.")
        parsed[key.strip()] = parse_yaml(value, f"The value of --set {cut(key)}", "Quote it.")
    return parsed
