"""Noise schedules, noises and samplers shared by methods."""
