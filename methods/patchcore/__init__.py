"""Nearest neighbours in a memory of healthy patch features."""
