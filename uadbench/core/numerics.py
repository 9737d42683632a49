"""How a job computes: number format, memory layout, compiled or not. All move last bits, so a record names them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Layout = Literal["channels_first", "channels_last"]


@dataclass(frozen=True, slots=True)
class Numerics:
    """Number format and layout of a fit and of its predictions.

    Attributes:
        precision: ``fp32``, or ``bf16`` for autocast to bfloat16.
        layout: Order of the axes of images and convolution weights in memory: NCHW or NHWC.
        compiled: Whether networks are called through torch.compile.
    """

    precision: Literal["fp32", "bf16"] = "fp32"
    layout: Layout = "channels_first"
    compiled: bool = False

    @property
    def bf16(self) -> bool:
        """Whether networks compute under autocast to bfloat16."""
        return self.precision == "bf16"

    @property
    def channels_last(self) -> bool:
        """Whether convolution weights are laid out channels last."""
        return self.layout == "channels_last"

    @property
    def key(self) -> str:
        """A word for file names."""
        return "-".join(str(self).split())

    def __str__(self) -> str:
        return f"{self.precision} {self.layout}{' compiled' if self.compiled else ''}"

    @classmethod
    def of(cls, *, bf16: bool, channels_last: bool) -> Numerics:
        """Returns the numerics of two switches."""
        return cls("bf16" if bf16 else "fp32", "channels_last" if channels_last else "channels_first")

    @classmethod
    def parse(cls, text: str) -> Numerics:
        """Parses the result of ``str``.

        Raises:
            ValueError: If it is something else.
        """
        for known in (*CHOICES, *(replace(choice, compiled=True) for choice in CHOICES)):
            if text.split() == str(known).split():
                return known
        raise ValueError(f"'{text}' is not one of {', '.join(map(str, CHOICES))}")


PLAIN = Numerics()
CHOICES = (
    PLAIN,
    Numerics("fp32", "channels_last"),
    Numerics("bf16", "channels_last"),
    Numerics("bf16", "channels_first"),
)
"""The choices of ``--precision auto``; the first is how published code computes."""
