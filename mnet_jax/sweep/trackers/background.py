"""A thread in which a tracker may fail or hang, at the cost of a line."""

import contextlib
import pathlib
import threading
import time
import traceback
from collections.abc import Callable, Sequence

from mnet_jax.sweep.trackers.contract import Tracker
from mnet_jax.sweep.trackers.follow import Follower
from mnet_jax.workdir.files import TrialFolder, Workdir

_SECONDS = 3.0  # between two looks
_PATIENCE = 60.0  # seconds after which a tracker that failed is tried again


class Background:
    """Looks at trials every few seconds, in a thread that a sweep never waits for but at its end.

    Args:
      name: of the tracker.
      make: the tracker, from the workdir; called in the thread.
      workdir: of the sweep.
    """

    def __init__(self, name: str, make: Callable[[Workdir], Tracker], workdir: Workdir):
        self._name, self._make, self._workdir = name, make, workdir
        self._follower: Follower | None = None
        self._watched: dict[str, TrialFolder] = {}
        self._pictures: Sequence[pathlib.Path] = ()
        self._again_at, self._has_warned = 0.0, False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def see(self, folder: TrialFolder) -> None:
        """Follows a trial from now on."""
        self._watched.setdefault(folder.name, folder)

    def show(self, pictures: Sequence[pathlib.Path]) -> None:
        """Sends these with the last look."""
        self._pictures = pictures

    def close(self, deadline: float) -> None:
        """Takes a last look, which may last until a time of `time.monotonic`."""
        self._closing.set()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._warn("it does not answer")

    def _work(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._closing.wait(_SECONDS)
            if time.monotonic() >= self._again_at:
                try:
                    self._look(is_last)
                except Exception as error:
                    self._follower = None
                    self._again_at = time.monotonic() + _PATIENCE
                    self._warn(" ".join(str(error).split())[:200] or repr(error), traceback.format_exc())

    def _look(self, is_last: bool) -> None:
        if self._follower is None:
            self._follower = Follower(self._name, self._make(self._workdir), self._workdir)
        for name, folder in list(self._watched.items()):
            if self._follower.send(folder):
                self._watched.pop(name)
        if is_last:
            self._follower.finish(self._pictures)

    def _warn(self, reason: str, details: str = "") -> None:
        log = self._workdir.output_path / f"tracker-{self._name}.txt"
        with contextlib.suppress(OSError):
            log.parent.mkdir(exist_ok=True)
            with log.open("a") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {reason}\n{details}")
        if not self._has_warned:
            self._has_warned = True
            print(
                f"warning: tracker {self._name}: {reason} (the sweep goes on, and the same command sends what is "
                f"missing; log: {log})",
                flush=True,
            )
