"""Records to tables. Never imports torch."""

from __future__ import annotations

from uadbench.report.build import build_report

__all__ = ["build_report"]
