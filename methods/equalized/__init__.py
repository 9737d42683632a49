"""The rank of a pixel's intensity within the body: a trivial baseline."""
