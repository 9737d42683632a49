"""Intervals over patients, comparisons of rows, calibration."""
