"""Where the training images vary, the same map for every image: a trivial baseline."""
