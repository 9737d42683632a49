"""AutoDDPM: mask, stitch and re-sample."""
