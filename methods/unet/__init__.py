"""A supervised U-Net: the reference that learns from lesion masks."""
