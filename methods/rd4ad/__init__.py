"""Reverse distillation from a frozen encoder."""
