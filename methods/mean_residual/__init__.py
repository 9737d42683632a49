"""The distance from the mean training image: a trivial baseline."""

from uadbench.methods.mean_residual.method import MeanResidual

__all__ = ["MeanResidual"]
