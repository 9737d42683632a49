"""Committed fingerprints of the phantoms: a phantom simulated on any machine must be bit-equal."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import uadbench
from uadbench.core.errors import DataError


class CommittedPhantom(BaseModel):
    """datasets/NAME/fingerprint.json.

    Attributes:
        version: Version of the phantom.
        fingerprint: Of its store.
        margins: The smallest distance of any value to the boundary of each decision, in the value's unit, when it was
            committed (``tools/phantom_steadiness.py``).
        earlier: Fingerprints of earlier versions, whose records are still shown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    fingerprint: str
    margins: dict[str, float] = Field(default_factory=dict[str, float])
    earlier: dict[str, str] = Field(default_factory=dict[str, str])

    def of_version(self, version: str) -> str | None:
        """Returns the fingerprint of a version, None if it is not known."""
        return self.fingerprint if version == self.version else self.earlier.get(version)


def fingerprint_file(dataset: str) -> Path:
    """Returns the path of a built-in dataset's fingerprint, whether or not it exists."""
    return Path(uadbench.__file__).parent / "datasets" / dataset / "fingerprint.json"


def committed_phantom(dataset: str) -> CommittedPhantom | None:
    """Returns the committed fingerprint; None for a dataset without a phantom, or from a plug-in.

    Raises:
        DataError: If the file is damaged.
    """
    file = fingerprint_file(dataset)
    try:
        return CommittedPhantom.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise DataError(
            f"datasets/{dataset}/fingerprint.json cannot be read.", "Restore it from the sources."
        ) from error


def check_fingerprint(dataset: str, version: str, made: str) -> None:
    """Refuses a phantom that differs from the committed one.

    Args:
        dataset: Registry name.
        version: Version of the dataset here.
        made: Fingerprint of the store that was made.

    Raises:
        DataError: If version or fingerprint differ.
    """
    known = committed_phantom(dataset)
    if known is None or (known.version, known.fingerprint) == (version, made):
        return
    if known.version != version:
        raise DataError(
            f"The phantom of {dataset} is version {version}, but fingerprint.json is of version {known.version}.",
            f"Run: python tools/phantom_steadiness.py --dataset {dataset} --write",
        )
    raise DataError(
        f"The phantom of {dataset} differs on this machine: fingerprint {made[:16]}, version {version} has "
        f"{known.fingerprint[:16]}. Results on it would not be comparable.",
        "If you changed its code or parameters, give it a new version. Otherwise, please open an issue with the "
        "output of: uadbench doctor; python tools/phantom_steadiness.py",
    )
