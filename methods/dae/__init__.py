"""Denoising autoencoder with coarse noise."""
