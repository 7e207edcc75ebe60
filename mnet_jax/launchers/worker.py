"""The process that trains a list of trials: `python -m mnet_jax.launchers.worker FOLDER [FOLDER ...]`.

Its standard input is a pipe from the launcher. When that closes, the launcher is gone, and the worker saves a
checkpoint and leaves as on SIGTERM.
"""

import os
import sys
import threading

from mnet_jax.signals import Interrupted, Interruption
from mnet_jax.workdir import TrialFolder


def _watch_launcher(interruption: Interruption) -> None:
    while os.read(sys.stdin.fileno(), 1024):  # unbuffered: a buffered read would hold a lock at exit
        pass
    interruption.set("the end of the sweep's process")


def main(paths: list[str]) -> int:
    with Interruption() as interruption:
        threading.Thread(target=_watch_launcher, args=(interruption,), daemon=True).start()
        from mnet_jax import runtime, train

        runtime.configure()
        try:
            train.train([TrialFolder(path) for path in paths], interruption)
        except Interrupted:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
