"""A convolutional variational autoencoder and its residual."""
