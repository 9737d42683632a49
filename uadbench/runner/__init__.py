"""Jobs, runs, checkpoints and artefacts. Reaches methods and datasets by registry name only."""
