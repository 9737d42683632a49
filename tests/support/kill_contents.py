"""What a command has left, apart from what no two runs share: times, costs and rows that tell who did what."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

VOLATILE = ("created", "cost")
"""Of a record: when it was made and what it took; how busy the cores were is dropped as well."""

TRIALS = """
SELECT slot.value_json, value.value, config.value_json
FROM trials
JOIN trial_user_attributes AS slot ON slot.trial_id = trials.trial_id AND slot.key = 'slot'
JOIN trial_values AS value ON value.trial_id = trials.trial_id
JOIN trial_user_attributes AS config ON config.trial_id = trials.trial_id AND config.key = 'config'
WHERE trials.state = 'COMPLETE' ORDER BY 1, 2
"""
JOBS = "SELECT id, state, reason FROM jobs ORDER BY id"


def contents(folder: Path) -> dict[str, str]:
    """Returns the hash of every file below a folder, and the folders themselves."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        found[name] = "a folder" if path.is_dir() else hashlib.sha256(_lasting(path)).hexdigest()
    return found


def differences(whole: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Returns a line for each file that is lost, left over or different."""
    lost = [f"{name} is lost" for name in whole if name not in found]
    left = [f"{name} is left over" for name in found if name not in whole]
    changed = [f"{name} differs" for name in whole if name in found and whole[name] != found[name]]
    return [*lost, *left, *changed]


def _lasting(path: Path) -> bytes:
    for pattern, read in READERS.items():
        if re.fullmatch(pattern, path.name):
            return read(path)
    return path.read_bytes()


def _record(path: Path) -> bytes:
    content: dict[str, Any] = json.loads(path.read_bytes())
    content["env"].pop("load", None)
    return json.dumps({key: value for key, value in content.items() if key not in VOLATILE}).encode()


def _losses(path: Path) -> bytes:
    """The last loss of each step: what was trained again after the last checkpoint stands there twice."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return repr(sorted({(line["step"], line["loss"]) for line in lines})).encode()


def _database(path: Path) -> bytes:
    query = JOBS if path.suffix == ".sqlite" else TRIALS
    with closing(sqlite3.connect(path)) as base:
        return repr(base.execute(query).fetchall()).encode()


def _nothing(path: Path) -> bytes:
    del path
    return b""


READERS: dict[str, Callable[[Path], bytes]] = {
    r"record\.json|[0-9a-f]{16}\.json": _record,
    r"log\.jsonl": _losses,
    r".*\.db|.*\.sqlite": _database,
    r"train_s\.txt": _nothing,
}
