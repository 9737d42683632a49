"""The distance from the mean training image: a trivial baseline."""
