"""``uadbench doctor``: what is there, what is missing, what to install."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from uadbench.cli.console import to_stdout
from uadbench.core.errors import JobFailed

OPTIONAL = {"SimpleITK": "medical", "pydicom": "medical", "monai": "medical", "surface-distance": "medical"}


def doctor() -> None:
    """Checks the environment: packages that must match, devices, precision and optional parts."""
    from uadbench.core.catalog import DATASETS, METHODS

    line = to_stdout().out
    line(f"methods   {len(METHODS.names())}, datasets {len(DATASETS.names())}", highlight=False)
    try:
        import timm
        import torch
        import torchvision
    except (ImportError, RuntimeError) as error:
        raise JobFailed(
            f"torch, torchvision and timm do not fit together ({error}). "
            "Install them in one command: pip install -U torch torchvision timm"
        ) from error
    from uadbench.runner.precision import pick_device, pick_precision

    device = pick_device("auto")
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}"
    line(f"packages  {versions}", highlight=False)
    line(f"device    {device}, {torch.get_num_threads()} threads on the CPU", highlight=False)
    line(f"precision auto picks {pick_precision('auto', device)}", highlight=False)
    for name, extra in OPTIONAL.items():
        try:
            line(f"optional  {name} {version(name)}", highlight=False)
        except PackageNotFoundError:
            line(f"optional  {name} is missing: pip install 'uadbench[{extra}]'", highlight=False)
