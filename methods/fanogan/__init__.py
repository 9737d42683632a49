"""f-AnoGAN: a generative adversarial network of healthy images and an encoder into it."""
