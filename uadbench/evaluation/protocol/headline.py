"""The headline metrics, read from the protocol."""

from __future__ import annotations

from uadbench.evaluation.protocol.protocol import load_protocol

STRICT = "strict-v1"
RULE = load_protocol(STRICT).headline
"""Threshold rule of the headline Dice, e.g. ``healthy-fpr@0.01``."""
RATE = float(RULE.partition("@")[2])
"""Its false positive rate on healthy calibration pixels."""
DICE = f"dice@{RULE}"
"""Key of the headline Dice."""
FPR = f"fpr@{RULE}"
"""Key of the false positive rate on test pixels under the same rule."""
