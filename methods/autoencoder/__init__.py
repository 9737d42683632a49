"""A convolutional autoencoder and its residual."""
