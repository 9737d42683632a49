"""Effects of choices on a run's maps: read from untrusted JSON, checked number by number."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_STEPS = 20
_Share = Annotated[float, Field(ge=-1e-9, le=1 + 1e-9, allow_inf_nan=False)]
_Change = Annotated[float, Field(ge=-1 - 1e-9, le=1 + 1e-9, allow_inf_nan=False)]
_Word = Annotated[str, Field(max_length=60)]
_Size = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Estimate(_Part):
    """A share or a difference of shares, with its interval over patients."""

    value: _Change | None
    low: _Change | None = None
    high: _Change | None = None
    n_patients: Annotated[int, Field(ge=0)] = 0


class Rung(_Part):
    """A step of the post-processing ladder: its parameters and gain."""

    step: _Word
    erosion: _Size
    blur: _Size
    median: _Size
    smallest: _Size
    tuning_dice: _Share
    test_dice: Estimate
    test_ap: Estimate
    test_dice_gain: Estimate | None = None
    test_ap_gain: Estimate | None = None


class Ladder(_Part):
    """Content of ``ladder.json``."""

    tuned_on: _Word
    rule: _Word
    steps: Annotated[list[Rung], Field(max_length=MAX_STEPS)]


class Pair(_Part):
    """Dice and AP."""

    dice: _Change
    ap: _Change


class Choice(Pair):
    """A protocol choice: the resulting numbers, its change, and its change alone."""

    choice: _Word
    change: Pair
    alone: Pair


class ProtocolGap(_Part):
    """From the numbers of one protocol to those of another."""

    first: _Word = Field(alias="from")
    last: _Word = Field(alias="to")
    start: Pair
    steps: Annotated[list[Choice], Field(max_length=MAX_STEPS)]
    total: Pair


class OracleGap(Estimate):
    """Oracle Dice minus the Dice at a label-free rule."""

    honest_rule: _Word


class Gaps(_Part):
    """Content of ``gaps.json``."""

    oracle_gap: OracleGap | None = None
    protocol_gap: ProtocolGap | None = None
