"""Trials one after another on this machine, each in a process of its own, so that a crash takes only its trial."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from mnet_jax.runtime import environment
from mnet_jax.signals import Interrupted, Interruption
from mnet_jax.workdir import FAILED, QUEUED, RUNNING, TrialFolder

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 120


def launch(folders: Sequence[TrialFolder], interruption: Interruption, on_poll: Callable[[TrialFolder], None]) -> None:
    """Trains each trial; what became of it is in its folder.

    Args:
      folders: of the trials, in the order in which they run.
      interruption: asked several times a second; its reason stops the running trial, which saves a checkpoint.
      on_poll: called several times a second with the trial that runs, and once when it has ended.

    Raises:
      Interrupted: there was a reason to stop; the trials that had not ended are `queued`.
    """
    for folder in folders:
        interruption.check()
        _run(folder, interruption, on_poll)
        on_poll(folder)
    interruption.check()


def _run(folder: TrialFolder, interruption: Interruption, on_poll: Callable[[TrialFolder], None]) -> None:
    folder.set_status(QUEUED)
    command = [sys.executable, "-u", "-m", "mnet_jax.launchers.worker", str(folder.path)]
    with folder.log_path.open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | environment(),
        )
    try:
        while process.poll() is None:
            interruption.check()
            on_poll(folder)
            time.sleep(_POLL_SECONDS)
    except Interrupted:
        _stop(process)
        raise
    finally:
        process.kill()
        process.wait()
        _record_death(folder, process.returncode, interruption)


def _stop(process: subprocess.Popen) -> None:
    """Lets the worker save its checkpoint."""
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _record_death(folder: TrialFolder, exit_code: int, interruption: Interruption) -> None:
    """A worker that ended without a word of its own leaves `running` or `queued` behind."""
    if interruption.reason:
        if folder.status() == RUNNING:
            folder.set_status(QUEUED, f"stopped by {interruption.reason}")
    elif folder.status() == RUNNING or (folder.status() == QUEUED and folder.error() is None):
        how = f"by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"with exit code {exit_code}"
        folder.set_status(FAILED, f"the process ended {how}")
