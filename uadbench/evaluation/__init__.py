"""Metrics, threshold rules, intervals and tests. NumPy alone: no model and no torch."""
