"""The rank of a pixel's intensity within its own body: a trivial baseline."""
