"""A process without access to lesion masks or their generators: namespaces by bubblewrap or unshare.

The new root contains only the system's libraries, the interpreter, the packages on its
path and the given folders, all but one read-only. Stores, phantom caches, runs, the datasets' generators, other
processes and the network are not accessible.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import uadbench
from uadbench.core.record import Isolation

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives", "/opt")
LENT, WORK = "/uadbench-lent", "/uadbench-work"  # paths of the two folders in the sandbox
PASSED_ON = ("OMP_", "MKL_", "OPENBLAS_", "TORCH_", "ATEN_", "ONEDNN_", "CUDA_", "NVIDIA_", "LD_LIBRARY", "LANG", "LC_")


@dataclass(frozen=True)
class Sandbox:
    """How the child is isolated.

    Attributes:
        isolation: ``namespace``, or ``handles`` for a separate process with only a copy of the data.
        tool: bwrap, unshare or "".
        why: Why there is no namespace, "" if there is one.
    """

    isolation: Isolation
    tool: str
    why: str = ""


@lru_cache(maxsize=1)
def find_sandbox() -> Sandbox:
    """Returns the best isolation that works on this machine, by trying each."""
    reasons: list[str] = []
    for tool in ("bwrap", "unshare"):
        if shutil.which(tool) is None:
            reasons.append(f"{tool} is not installed")
            continue
        box = Sandbox("namespace", tool)
        try:
            command = wrapped(box, [sys.executable, "-c", "import json"], Path("/usr"), None, [], gpu=False)
            tried = subprocess.run(command, capture_output=True, timeout=60, check=False, env=_environment(box))  # noqa: S603 (built here)
        except (OSError, subprocess.TimeoutExpired) as error:
            reasons.append(f"{tool}: {type(error).__name__}")
            continue
        if tried.returncode == 0:
            return box
        reasons.append(f"{tool}: {tried.stderr.decode(errors='replace').strip()[-100:] or tried.returncode}")
    return Sandbox("handles", "", "; ".join(reasons))


def start(
    box: Sandbox, arguments: list[str], lent: Path, work: Path, hidden: Iterable[Path], *, gpu: bool
) -> subprocess.Popen[bytes]:
    """Starts a Python module in the sandbox.

    Args:
        box: Isolation to use.
        arguments: Module and arguments; ``LENT`` and ``WORK`` in them stand for the two folders.
        lent: Folder that it can read.
        work: Folder that it can write to.
        hidden: Paths to hide inside accessible folders.
        gpu: Whether it gets the GPUs.
    """
    lent, work = lent.resolve(), work.resolve()  # the child starts in another working directory
    places = {"LENT": LENT, "WORK": WORK} if box.tool else {"LENT": str(lent), "WORK": str(work)}
    command = [sys.executable, "-m", *(places.get(argument, argument) for argument in arguments)]
    if box.tool:
        command = wrapped(box, command, lent, work, hidden, gpu=gpu)
    # What the method prints is no answer of this program, and what is typed is not for it.
    return subprocess.Popen(  # noqa: S603 (built here)
        command,
        cwd="/" if box.tool else work,
        env=_environment(box, work),
        stdin=subprocess.DEVNULL,
        stdout=sys.__stderr__.fileno() if sys.__stderr__ else subprocess.DEVNULL,
    )


def status_of(child: subprocess.Popen[bytes]) -> int:
    """Waits for a child and returns its exit status; whatever ends the waiting ends the child."""
    try:
        return child.wait()
    except BaseException:
        child.kill()
        child.wait()
        raise


def wrapped(
    box: Sandbox, command: list[str], lent: Path, work: Path | None, hidden: Iterable[Path], *, gpu: bool
) -> list[str]:
    """Returns a command that runs another command in new namespaces."""
    seen = _visible()
    masked = [path for path in (*hidden, *_generators()) if any(path.is_relative_to(place) for place in seen)]
    build = _bubblewrap if box.tool == "bwrap" else _unshare
    return build(command, seen, [path for path in masked if path.exists()], {LENT: lent, WORK: work}, gpu=gpu)


def _bubblewrap(
    command: list[str], seen: list[Path], masked: list[Path], lent: Mapping[str, Path | None], *, gpu: bool
) -> list[str]:
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--dev", "/dev", "--proc", "/proc"]
    words += ["--tmpfs", "/tmp", "--tmpfs", "/dev/shm"]  # noqa: S108 (the sandbox's own)
    for path in seen:
        words += (
            ["--symlink", str(path.readlink()), str(path)] if path.is_symlink() else ["--ro-bind", *[str(path)] * 2]
        )
    for path in masked:
        words += ["--tmpfs", str(path)] if path.is_dir() else ["--ro-bind", "/dev/null", str(path)]
    if gpu:
        words += ["--ro-bind", "/sys", "/sys"]
        for path in sorted(Path("/dev").glob("nvidia*")):
            words += ["--dev-bind", *[str(path)] * 2]
    for place, folder in lent.items():
        if folder is not None:
            words += ["--bind" if place == WORK else "--ro-bind", str(folder), place]
    return [*words, "--chdir", "/tmp", "--", *command]  # noqa: S108 (the sandbox's own)


def _unshare(
    command: list[str], seen: list[Path], masked: list[Path], lent: Mapping[str, Path | None], *, gpu: bool
) -> list[str]:
    """The same without bubblewrap: a root of bind mounts, the old root detached, all privileges dropped."""
    lines = ["set -e", 'root=$(mktemp -d); mount -t tmpfs tmpfs "$root"', 'cd "$root"', "mkdir -p proc dev tmp old"]

    def bind(source: Path, place: str, *, writable: bool = False) -> None:
        inside = shlex.quote(place.lstrip("/"))
        if source.is_dir():
            lines.append(f"mkdir -p {inside}")
        else:
            lines.append(f'mkdir -p "$(dirname {inside})"; touch {inside}')
        lines.append(f"mount --bind {shlex.quote(str(source))} {inside}")
        if not writable:
            lines.append(f"mount -o remount,bind,ro {inside}")

    for path in seen:
        if path.is_symlink():
            lines.append(f"ln -s {shlex.quote(str(path.readlink()))} {shlex.quote(str(path).lstrip('/'))}")
        else:
            bind(path, str(path))
    for path in masked:
        inside = shlex.quote(str(path).lstrip("/"))
        lines.append(f"mount -t tmpfs tmpfs {inside}" if path.is_dir() else f"mount --bind /dev/null {inside}")
    for name in ("null", "zero", "random", "urandom"):
        bind(Path("/dev") / name, f"/dev/{name}", writable=True)
    lines += ["mkdir -p dev/shm; mount -t tmpfs tmpfs dev/shm", "mount -t tmpfs tmpfs tmp", "mount -t proc proc proc"]
    if gpu:
        for path in sorted(Path("/dev").glob("nvidia*")):
            bind(path, str(path), writable=True)
    for place, folder in lent.items():
        if folder is not None:
            bind(folder, place, writable=place == WORK)
    lines += ["pivot_root . old", "umount -l /old", "cd /tmp"]
    lines.append(f"exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all {shlex.join(command)}")
    spaces = ["--user", "--map-root-user", "--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child"]
    return ["unshare", *spaces, "sh", "-c", "\n".join(lines)]


def _visible() -> list[Path]:
    """Returns the paths accessible to the child: never the project folder, only the modules it imports."""
    package = Path(uadbench.__file__).resolve().parent
    parts = [package, *(path.resolve() for path in (package / "methods", package / "experiments") if path.is_symlink())]
    paths = [Path(entry).resolve() for entry in sys.path if entry]
    paths = [path for path in paths if path.exists() and path not in (package.parent, Path.cwd(), Path("/"))]
    caches = [_cache("HF_HOME", "huggingface") / "hub", _cache("TORCH_HOME", "torch") / "hub"]
    python = [Path(sys.prefix), Path(sys.base_prefix), *(path for path in caches if path.is_dir())]
    wanted = [*map(Path, SYSTEM), *python, *paths, *parts]
    found: list[Path] = []
    for path in sorted({path for path in wanted if path.exists()}, key=lambda path: len(path.parts)):
        if not any(path.is_relative_to(place) for place in found if not place.is_symlink()):
            found.append(path)
    return found


def _generators() -> list[Path]:
    """Returns the paths of the datasets' code, built-in and from plug-ins."""
    places = [Path(uadbench.__file__).resolve().parent / "datasets"]
    for point in entry_points(group="uadbench.datasets"):
        top, *rest = point.module.split(".")
        try:
            spec = find_spec(top)
        except (ImportError, ValueError):
            continue
        for folder in (spec.submodule_search_locations or []) if spec and rest else []:
            inner = Path(folder).resolve().joinpath(*rest)
            places += [inner, inner.with_suffix(".py")]
        if spec is not None and not rest and spec.origin:
            origin = Path(spec.origin).resolve()
            places.append(origin.parent if origin.name == "__init__.py" else origin)
    return [place for place in places if place.exists() and not place.is_symlink()]


def _cache(variable: str, name: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / ".cache" / name)


def _environment(box: Sandbox, work: Path | None = None) -> dict[str, str]:
    """Returns the child's environment variables: threads and libraries, no keys or addresses."""
    scratch = "/tmp" if box.tool or work is None else str(work)  # noqa: S108 (the sandbox's own)
    passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    caches = {"HF_HOME": str(_cache("HF_HOME", "huggingface")), "TORCH_HOME": str(_cache("TORCH_HOME", "torch"))}
    own = {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": scratch,
        "TMPDIR": scratch,
        "XDG_CACHE_HOME": scratch,
        "USER": "nobody",
        "PYTHONPATH": os.pathsep.join([str(Path(uadbench.__file__).resolve().parent.parent), *filter(None, sys.path)]),
        "HF_HUB_OFFLINE": "1",
    }
    return {**passed, **caches, **own}
