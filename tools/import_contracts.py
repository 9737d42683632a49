"""Writes ``.importlinter``: the dependency direction of docs/explanation/design.md as contracts.

import-linter ignores folders without ``__init__.py``, and ``methods/`` and ``datasets/`` are such
folders, so each method and dataset is listed here as a separate root package, found on every run.

Usage: python tools/import_contracts.py [ROOT]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

# Highest first. A layer may import layers below it; siblings on one line may not import each other.
# Parentheses: the layer may be absent.
ABOVE_METHODS = (
    "uadbench.__main__",
    "uadbench.cli",
    "(uadbench.api)",
    "uadbench.tuning | uadbench.verification | uadbench.inference | uadbench.scaffold",
    "uadbench.runner | uadbench.report",
    "uadbench.records",
)
BELOW_METHODS = ("uadbench.diffusion", "uadbench.testing", "uadbench.data | uadbench.nn | uadbench.evaluation")
LOWEST = "uadbench.core"

PLACED = (
    "cli",
    "tuning",
    "verification",
    "inference",
    "scaffold",
    "runner",
    "report",
    "records",
    "diffusion",
    "testing",
    "data",
    "nn",
    "evaluation",
    "core",
)


def render(root: Path) -> str:
    """Returns the configuration for a checkout.

    Args:
        root: Folder that holds ``uadbench/``, ``methods/`` and ``datasets/``.

    Raises:
        SystemExit: If a package of ``uadbench/`` is not assigned to a layer.
    """
    strangers = sorted(set(_packages(root / "uadbench")) - {*PLACED, "methods", "datasets"})
    if strangers:
        sys.exit(f"tools/import_contracts.py: give uadbench/{strangers[0]} a place among the layers.")
    methods = [f"uadbench.methods.{name}" for name in _packages(root / "methods")]
    datasets = [f"uadbench.datasets.{name}" for name in _packages(root / "datasets")]
    parts = [f"uadbench.{name}" for name in PLACED]
    layers = [*ABOVE_METHODS, " | ".join([*methods, *datasets]), *BELOW_METHODS, LOWEST]
    return "\n".join(
        [
            _section(
                "importlinter",
                root_packages=["uadbench", *methods, *datasets],
                include_external_packages="True",
                # Imports for type checking are not run-time dependencies.
                exclude_type_checking_imports="True",
            ),
            _section(
                "importlinter:contract:direction",
                name="Imports go downwards; methods and datasets never import each other",
                type="layers",
                layers=[layer for layer in layers if layer],
                # The package imports its Python interface lazily; its version is read from below.
                ignore_imports=["uadbench -> uadbench.api"],
                unmatched_ignore_imports_alerting="none",
            ),
            _section(
                "importlinter:contract:cycles",
                name="No cycle between the folders of a package, nor between its files",
                type="acyclic_siblings",
                ancestors=parts,
                ignore_imports=["uadbench -> uadbench.api"],
                unmatched_ignore_imports_alerting="none",
            ),
            _forbidden("registry", "Methods and datasets are reached by registry name only", parts, methods + datasets),
            _forbidden(
                "datasets",
                "Datasets use core and data",
                datasets,
                [part for part in parts if part not in ("uadbench.core", "uadbench.data")],
            ),
            _forbidden(
                "tuning",
                "A tuner reaches no phantom's generator: it is handed a store",
                ["uadbench.tuning"],
                [*datasets, "uadbench.runner.planning.datasets"],
            ),
            _forbidden(
                "lesions",
                "The synthetic lesions of tuning share nothing with training noises or phantoms",
                [*methods, *datasets, "uadbench.diffusion", "uadbench.nn"],
                ["uadbench.data.simulation.families", "uadbench.data.simulation.mixture"],
            ),
            _forbidden(
                "simulation",
                "Synthetic lesions know no training noise and no phantom",
                ["uadbench.data.simulation"],
                [*methods, *datasets, "uadbench.diffusion", "uadbench.nn"],
            ),
            _forbidden(
                "records",
                "Records are read with core and evaluation alone",
                ["uadbench.records"],
                [
                    *(part for part in parts if part[9:] not in ("records", "core", "evaluation")),
                    *methods,
                    *datasets,
                ],
            ),
            _forbidden(
                "report",
                "The report knows records and metrics alone",
                ["uadbench.report"],
                ["uadbench.data", "uadbench.nn", "uadbench.diffusion", "uadbench.testing"],
            ),
            _forbidden(
                "torch",
                "Metrics and reports need no torch",
                ["uadbench.evaluation", "uadbench.report"],
                ["torch"],
                "uadbench.core.seeding -> torch",  # inside the one function that makes torch generators
            ),
        ]
    )


def _packages(folder: Path) -> list[str]:
    return sorted(file.parent.name for file in folder.glob("[a-z]*/__init__.py"))


def _forbidden(key: str, name: str, sources: Iterable[str], targets: Iterable[str], *ignored: str) -> str:
    sources, targets = list(sources), list(targets)
    if not sources or not targets:  # no method or no dataset yet: nothing that could be broken
        return ""
    return _section(
        f"importlinter:contract:{key}",
        name=name,
        type="forbidden",
        source_modules=sources,
        forbidden_modules=targets,
        ignore_imports=["uadbench -> uadbench.api", *ignored],
        unmatched_ignore_imports_alerting="none",
    )


def _section(title: str, **values: str | list[str]) -> str:
    lines = [f"[{title}]"]
    for key, value in values.items():
        lines += [f"{key} = {value}"] if isinstance(value, str) else [f"{key} =", *(f"    {item}" for item in value)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    (root / ".importlinter").write_text(render(root))
