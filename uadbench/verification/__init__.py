"""Whether records are what they claim: a run made again, tables recomputed, bundles and the leaderboard checked."""
