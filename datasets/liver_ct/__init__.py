"""Liver CT: metastases in the liver, from public layouts, and a phantom in Hounsfield units."""

from uadbench.datasets.liver_ct.dataset import LiverCT

__all__ = ["LiverCT"]
