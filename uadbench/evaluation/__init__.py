"""Metrics, threshold rules and intervals. NumPy and SciPy alone; no torch models."""
