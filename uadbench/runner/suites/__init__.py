"""Many jobs: the suite file, its job table, workers and executors."""
