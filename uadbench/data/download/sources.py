"""Sources of a dataset: addresses, licences, checksums and manual steps, from its ``sources.yaml``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from uadbench.core.errors import DataError, UnknownName, UserError
from uadbench.core.reading import read_yaml

FILE = "sources.yaml"


class RemoteFile(BaseModel):
    """One file at an official address.

    Attributes:
        url: Its address.
        name: Local file name.
        checksum: "sha256:..." or "md5:..." as published or confirmed by several people; "" if unverified.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    name: str
    checksum: str = ""


class Expected(BaseModel):
    """Files that a complete folder must contain.

    Attributes:
        pattern: Glob pattern below the folder.
        least: How many files must match.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pattern: str
    least: int = 1


class RawSource(BaseModel):
    """One public dataset.

    Attributes:
        name: Its name for ``--what``.
        title: Name in words, with its size.
        licence: Licence and citation.
        page: Landing page.
        files: Files to download; empty if there is no direct address.
        steps: Manual steps before or after the download.
        expects: Files that the complete folder must contain.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    licence: str
    page: str
    files: list[RemoteFile] = Field(default_factory=list[RemoteFile])
    steps: list[str] = Field(default_factory=list[str])
    expects: list[Expected]

    @model_validator(mode="after")
    def _reachable(self) -> RawSource:
        if not self.files and not self.steps:
            raise ValueError(f"{self.name}: neither files nor steps")
        return self


def sources_of(dataset: type) -> list[RawSource]:
    """Returns the sources of a dataset, empty if it has none.

    Args:
        dataset: Its class; ``sources.yaml`` is in the folder of its module.

    Raises:
        DataError: If the file cannot be used.
    """
    file = Path(inspect.getfile(dataset)).parent / FILE
    if not file.exists():
        return []
    try:
        found = [RawSource.model_validate(entry) for entry in read_yaml(file)]
    except (ValidationError, TypeError) as error:
        raise DataError(f"{file} cannot be used: {error}", "Correct it.") from error
    return found


def choose(dataset: str, sources: Sequence[RawSource], what: str | None) -> RawSource:
    """Returns the requested source, or the only one.

    Raises:
        UserError: If the dataset has no sources, or several and none was requested.
        UnknownName: If there is no source of that name.
    """
    if not sources:
        raise UserError(f"{dataset} has no source to download.", "Run uadbench prepare on your own files.")
    names = [source.name for source in sources]
    if what is None and len(sources) > 1:
        raise UserError(f"{dataset} has several sources.", f"Choose one with --what: {', '.join(names)}.")
    for source in sources:
        if what in (None, source.name):
            return source
    raise UnknownName(f"source of {dataset}", what or "", names)


def missing(source: RawSource, folder: Path) -> list[str]:
    """Returns which files a folder still lacks, in words."""
    found: list[str] = []
    for expected in source.expects:
        count = sum(1 for path in folder.glob(expected.pattern) if not path.name.startswith("."))
        if count < expected.least:
            found.append(f"{expected.pattern} ({count} of at least {expected.least})")
    return found
