"""Synomaly noise and multi-stage diffusion."""
