"""Reverse distillation from a frozen encoder."""

from uadbench.methods.rd4ad.method import RD4AD

__all__ = ["RD4AD"]
