"""Breast ultrasound: real B-mode frames of three public sets, with lesion masks."""

from uadbench.datasets.breast_us.dataset import BreastUS

__all__ = ["BreastUS"]
