"""Verification of records: reruns, recomputed tables, bundles and the leaderboard."""
