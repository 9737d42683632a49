"""Where the training images vary, the same map for every image: a trivial baseline."""

from uadbench.methods.position.method import Position

__all__ = ["Position"]
