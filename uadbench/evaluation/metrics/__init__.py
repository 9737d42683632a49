"""Pixel, lesion and surface metrics of one case or of many."""
