"""The rank of a pixel's intensity within its own body: a trivial baseline."""

from uadbench.methods.equalized.method import Equalized

__all__ = ["Equalized"]
