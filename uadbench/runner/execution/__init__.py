"""One job: fit, predict and score on a device."""
