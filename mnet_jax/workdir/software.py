"""What trained a trial: versions, the commit of this package where it is used from a checkout, and the command."""

import functools
import importlib.metadata
import pathlib
import platform
import shlex
import subprocess
import sys
from typing import Any

_LIBRARIES = (
    "mnet_jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "ml-collections",
    "tensorflow-datasets",
    "grain",
    "opencv-python-headless",
    "simplejpeg",
    "numpy",
)


@functools.cache
def software() -> dict[str, Any]:
    """{"versions", "commit", "is_dirty"}, as they are at the first call of a process.

    "commit" is None where the package is not a file of a Git repository, such as one installed from a wheel; "is_dirty"
    says whether files that the repository tracks were changed since. Nothing in it names a machine or a user.
    """
    commit = _git("rev-parse", "HEAD") if _git("ls-files", "--error-unmatch", pathlib.Path(__file__).name) else None
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _LIBRARIES},
        "commit": commit,
        "is_dirty": bool(_git("status", "--porcelain", "--untracked-files=no", ":/")) if commit else None,
    }


def command() -> str | None:
    """How this process was started, where that is a command of this package; None in a program of one's own."""
    arguments = sys.orig_argv[sys.orig_argv.index("-m") :] if "-m" in sys.orig_argv else []
    is_ours = len(arguments) > 1 and arguments[1].startswith("mnet_jax.")
    return shlex.join(["python", *arguments]) if is_ours else None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """What a command prints, run where this file is; None where it fails or there is no Git."""
    folder = pathlib.Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, text=True, capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
