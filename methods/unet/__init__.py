"""A supervised U-Net: the reference trained on lesion masks."""
