"""Nearest neighbours in a memory bank of healthy patch features."""
