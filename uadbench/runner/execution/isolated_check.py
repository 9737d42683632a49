"""The conformance kit in the sandbox of ``run --isolated``: no data, no network, no other processes.

``python -m uadbench.runner.execution.isolated_check NAME WORK`` is the child, which imports the method; the parent
reads its output and never imports the method.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from uadbench.core.catalog import METHODS
from uadbench.core.errors import JobFailed, UnknownName
from uadbench.runner.execution.isolated import isolation, plain_file
from uadbench.runner.execution.order import RESULT
from uadbench.runner.execution.sandbox import find_sandbox, start, status_of
from uadbench.runner.planning.datasets import cache_folder
from uadbench.testing.method_checks import check_method
from uadbench.testing.results import CheckResult

MODULE = "uadbench.runner.execution.isolated_check"
LARGEST = 1_000_000  # bytes of the child's output


class Checked(BaseModel):
    """The child's output; it is shown, and nothing is computed from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    results: Annotated[list[CheckResult], Field(min_length=1, max_length=1000)]


def check_isolated(name: str) -> tuple[list[CheckResult], str]:
    """Runs the conformance kit on a method in an isolated process.

    Args:
        name: Registry name.

    Returns:
        One result per check, and why the process had no namespace ("" if it had).

    Raises:
        UnknownName: If there is no such method.
        JobFailed: If the process ends without a result.
    """
    if name not in METHODS.names():
        raise UnknownName("method", name, METHODS.names())
    with TemporaryDirectory() as lent, TemporaryDirectory() as scratch:
        work = Path(scratch)
        hidden = [cache_folder().resolve()]
        child = start(find_sandbox(), [MODULE, name, "WORK"], Path(lent), work, hidden, gpu=False)
        status = status_of(child)
        if status != 0:
            raise JobFailed(f"The isolated process ended with status {status}: --no-isolated checks it in this one.")
        try:
            said = plain_file(work / RESULT)
            if said.stat().st_size > LARGEST:
                raise OSError
            return Checked.model_validate_json(said.read_bytes()).results, isolation()[1]
        except (OSError, ValidationError) as error:
            raise JobFailed("The isolated process left no result.") from error


def main(name: str, work: Path) -> None:
    """Checks a method in this process."""
    checked = Checked(results=check_method(METHODS.load(name)))
    (work / RESULT).write_text(checked.model_dump_json())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
