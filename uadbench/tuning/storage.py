"""The study's database, with errors of one clear line and without showing passwords."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from copy import copy
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from uadbench.core.errors import UserError

WAIT = 60  # seconds that a writer waits for SQLite's lock
DRAWN = "config"
"""Attribute of a trial with complete parameters."""
RETRIES = 3  # number of workers that may die in one trial, because the trial may be the cause


def open_storage(address: str, beat: int, grace: int) -> RDBStorage:
    """Opens a database for studies.

    Args:
        address: SQLAlchemy URL.
        beat: Seconds between heartbeats.
        grace: Seconds without one after which a trial is retried.

    Raises:
        UserError: If the URL is malformed, the driver is missing, or the database is down or read-only.
    """
    url = parse(address)
    file = sqlite_file(url)
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            _lock_file(file).open("ab").close()  # if it cannot be created, the lock would wait forever
        except OSError as error:
            raise UserError(f"The study's storage {file} cannot be created: {error.strerror}.") from error
    options: dict[str, Any] = {"connect_args": {"timeout": WAIT}} if file is not None else {"pool_pre_ping": True}
    try:
        with storage_errors(address), quiet(), lock(address):
            return RDBStorage(
                address,
                engine_kwargs=options,
                heartbeat_interval=beat,
                grace_period=grace,
                heartbeat_stale_trial_callback=_retry,
            )
    except OSError as error:  # the lock next to a SQLite file
        raise UserError(f"The study's storage {shown(address)} failed: {error.strerror}.", REMEDY) from error
    except RuntimeError as error:  # Optuna's error for a database of another version
        raise UserError(f"The study's storage {shown(address)} cannot be used: {error}.", REMEDY) from error


def _retry(study: optuna.Study, trial: FrozenTrial) -> None:
    """Opens the slot of a lost trial again, with its parameters if all of them were drawn.

    Incomplete parameters are dropped: drawn again from the slot's own seed, they are the same.
    """
    again = copy(trial)
    again.params, again.distributions = drawn(trial)
    RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)(study, again)


def drawn(trial: FrozenTrial) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """Returns the parameters of a trial with their distributions; none if it ended while they were drawn."""
    return (dict(trial.params), dict(trial.distributions)) if DRAWN in trial.user_attrs else ({}, {})


def parse(address: str) -> URL:
    """Parses a URL.

    Raises:
        UserError: If it is invalid. Its text is not repeated because it may contain a password.
    """
    try:
        return make_url(address)
    except SQLAlchemyError as error:
        raise UserError(
            "--storage is not a database URL.", "Write for example sqlite:///runs/tune/studies.db or postgresql://..."
        ) from error


def shown(address: str) -> str:
    """Returns the URL without its password."""
    return parse(address).render_as_string(hide_password=True)


def sqlite_file(url: URL) -> Path | None:
    """Returns the file of a SQLite URL, None for servers and for SQLite's own file: addresses."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith("file:"):
        return None
    return Path(url.database)


def lock(address: str) -> Any:
    """Returns a lock that makes several statements atomic: SQLite cannot lock rows, servers can."""
    file = sqlite_file(parse(address))
    return nullcontext() if file is None else FileLock(_lock_file(file))


def _lock_file(file: Path) -> Path:
    return file.with_name(f".{file.name}.lock")


@contextmanager
def storage_errors(address: str) -> Generator[None]:
    """Converts database errors to one line.

    Raises:
        UserError: Instead of the database's own errors.
    """
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"No driver for {parse(address).drivername} is installed.",
            "Install psycopg2-binary for PostgreSQL, pymysql for MySQL.",
        ) from error
    except (SQLAlchemyError, StorageInternalError) as error:
        raise UserError(f"The study's storage {shown(address)} failed: {reason(error, address)}.", REMEDY) from error


REMEDY = "Check that it is up and writable; repeat the command to resume."


def reason(error: BaseException, address: str) -> str:
    """Returns the first line of the innermost error, without the password."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(getattr(error, "orig", None) or error).strip().splitlines()
    line = text[0].rstrip(".") if text else type(error).__name__
    password = parse(address).password
    return line.replace(str(password), "***") if password else line


@contextmanager
def quiet() -> Generator[None]:
    """Silences Optuna's warnings on experimental interfaces."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(verbosity)
