"""Trackers by name, and all of a sweep's together."""

import functools
import importlib
import importlib.util
import os
import pathlib
import threading
import time
from collections.abc import Iterable

from mnet_jax.errors import UserError
from mnet_jax.sweep.trackers.background import Background
from mnet_jax.sweep.trackers.contract import Tracker
from mnet_jax.workdir.files import TrialFolder, Workdir

_PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
_SECONDS = 20.0  # that a sweep waits at its end for all trackers together
_IMPORTING = threading.Lock()  # pydantic's imports call `ast.parse`, which fails in two threads at once on Python 3.11


def check_trackers(names: Iterable[str]) -> None:
    """Looks whether trackers of `config.launch.trackers` can work.

    Raises:
      UserError: a library is not installed, or MLflow has no server.
    """
    for name in names:
        if importlib.util.find_spec(_PACKAGES[name]) is None:
            raise UserError(f"config.launch.trackers: {name} needs {_PACKAGES[name]}: pip install -e '.[{name}]'")
    if "mlflow" in names and not os.environ.get("MLFLOW_TRACKING_URI"):
        raise UserError("config.launch.trackers: mlflow needs $MLFLOW_TRACKING_URI, such as http://127.0.0.1:5000")


class Tracking:
    """Tells trackers of the trials that it is shown; a context manager, whose end waits for them, but not for long."""

    def __init__(self, names: Iterable[str], workdir: Workdir):
        self._names, self._workdir = tuple(dict.fromkeys(names)), workdir
        self._followers: list[Background] = []

    def __enter__(self) -> "Tracking":
        for name in self._names:
            self._followers.append(Background(name, functools.partial(_make, name), self._workdir))
        return self

    def __exit__(self, *_) -> None:
        deadline = time.monotonic() + _SECONDS
        for follower in self._followers:
            follower.close(deadline)

    def see(self, *folders: TrialFolder) -> None:
        """Follows trials from now on."""
        for follower in self._followers:
            for folder in folders:
                follower.see(folder)

    def show(self, pictures: Iterable[str]) -> None:
        """Sends these PNG files at the end."""
        paths = [pathlib.Path(path) for path in pictures if path.endswith(".png")]
        for follower in self._followers:
            follower.show(paths)


def _make(name: str, workdir: Workdir) -> Tracker:
    with _IMPORTING:
        importlib.import_module(_PACKAGES[name])
    return importlib.import_module(f"mnet_jax.sweep.trackers.{name}").make(workdir)
