"""Where phantoms are cached."""

from __future__ import annotations

from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Returns the folder of phantom caches (override with the environment variable XDG_CACHE_HOME)."""
    return platformdirs.user_cache_path("uadbench") / "phantoms"
