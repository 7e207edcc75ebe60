"""Groups of trials on this machine: a process per group, as many at a time as there are places for them.

A crash takes only its process: the group starts again, from its checkpoints. One that dies twice without having saved a
step in between is halved, until the trial that kills its process is alone; that one is recorded as failed. A group that
needs more memory than there is, is halved at once.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from mnet_jax.devices.process import environment
from mnet_jax.devices.signals import Interruption
from mnet_jax.errors import UserError
from mnet_jax.sweep.launchers.contract import Capacity, Groups, OnPoll
from mnet_jax.sweep.launchers.places import find_places
from mnet_jax.sweep.launchers.worker import OUT_OF_MEMORY
from mnet_jax.workdir.files import FAILED, QUEUED, TrialFolder, Workdir

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 120

Place = Mapping[str, str]  # the environment in which a process sees its devices and no others


class Local:
    """See `contract.Launcher`."""

    def __init__(self, launch: ConfigDict, workdir: Workdir):
        if launch.hosts_per_group > 1:
            raise UserError(
                f"config.launch.hosts_per_group={launch.hosts_per_group}: the local launcher has this machine alone; "
                "ray and slurm have more"
            )
        self._devices_per_group, self._workdir = launch.devices_per_group, workdir
        self._places: list[dict[str, str]] = []

    def capacity(self) -> Capacity:
        self._places, num_devices, memory, platform = find_places(self._devices_per_group)
        return Capacity(len(self._places), num_devices, memory, platform)

    def launch(self, groups: Groups, interruption: Interruption, on_poll: OnPoll) -> None:
        launch(groups, self._places, self._workdir.output_path, interruption, on_poll)


def make(launch: ConfigDict, workdir: Workdir) -> Local:
    return Local(launch, workdir)


def launch(
    groups: Groups,
    places: Sequence[Place],
    output: pathlib.Path,
    interruption: Interruption,
    on_poll: OnPoll,
) -> None:
    """Trains each group; what became of its trials is in their folders.

    Args:
      groups: in the order in which they start.
      places: where groups run at the same time.
      output: folder for what the processes print.
      interruption: asked several times a second; its reason stops the processes, which save checkpoints.
      on_poll: called several times a second with every trial of a process that runs, and when it has ended.

    Raises:
      Interrupted: there was a reason to stop; the trials that had not ended are `queued`.
    """
    output.mkdir(parents=True, exist_ok=True)
    waiting = [(list(group), 0) for group in groups]
    free, running = list(places), []
    try:
        while waiting or running:
            interruption.check()
            while waiting and free:
                folders, deaths = waiting.pop(0)
                running.append(_Process(folders, deaths, free.pop(0), output))
            time.sleep(_POLL_SECONDS)
            for process in [process for process in running if process.has_ended()]:
                running.remove(process)
                free.append(process.place)
                waiting[:0] = process.leftovers()
                _each(on_poll, process.folders)
            for process in running:
                _each(on_poll, process.folders)
        interruption.check()
    finally:
        _stop(running, interruption.reason or "an error of the sweep")


def worker(folders: Sequence[TrialFolder], output: pathlib.Path, place: Place, *flags: str) -> subprocess.Popen:
    """Starts a process that trains a group, in a session of its own; it leaves when its standard input is closed."""
    module = "mnet_jax.sweep.launchers.worker"
    with output.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-u", "-m", module, *flags, *(str(folder.path) for folder in folders)],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | environment() | place,
        )


class _Process:
    """A group in training.

    Args:
      folders: of its trials.
      deaths: of processes that trained the same trials, since one of them saved a step.
      place: where it runs.
      output: folder for what it prints.
    """

    def __init__(self, folders: list[TrialFolder], deaths: int, place: Place, output: pathlib.Path):
        self.folders, self.place, self._deaths = folders, place, deaths
        for folder in folders:
            folder.set_status(QUEUED)
        self._saved = {folder.name: folder.saved_step() for folder in folders}
        self._output = output / f"{folders[0].name}.txt"
        self._process = worker(folders, self._output, place)

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def leftovers(self) -> list[tuple[list[TrialFolder], int]]:
        """The groups to start again, with their deaths, after a process that ended without a word on some trials."""
        self._process.stdin.close()
        lost = [folder for folder in self.folders if folder.is_lost()]
        if not lost:
            return []
        has_progressed = len(lost) < len(self.folders) or any(f.saved_step() > self._saved[f.name] for f in lost)
        deaths = 1 if has_progressed else self._deaths + 1
        if self._process.returncode == OUT_OF_MEMORY and len(lost) > 1:
            deaths = 2
        if deaths > 1 and len(lost) == 1:
            lost[0].set_status(FAILED, f"the process ended {self._end()}; what it printed is in {self._output}")
            return []
        for folder in lost:
            folder.set_status(QUEUED, f"the process ended {self._end()}; it starts again")
        half = len(lost) // 2
        return [(lost, deaths)] if deaths == 1 else [(lost[:half], 0), (lost[half:], 0)]

    def ask_to_stop(self) -> None:
        self._process.terminate()

    def end(self, deadline: float, reason: str) -> None:
        """Waits for the process until the deadline, then kills it."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdin.close()
        with contextlib.suppress(OSError):  # of a disk that is full; a trial that is still `running` goes on as well
            for folder in filter(TrialFolder.is_lost, self.folders):
                folder.set_status(QUEUED, f"stopped by {reason}")

    def _end(self) -> str:
        code = self._process.returncode
        if code == OUT_OF_MEMORY:
            return "out of memory"
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


def _each(on_poll: OnPoll, folders: Sequence[TrialFolder]) -> None:
    for folder in folders:
        on_poll(folder)


def _stop(running: Sequence[_Process], reason: str) -> None:
    """Lets the processes save their checkpoints, all at the same time."""
    for process in running:
        process.ask_to_stop()
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in running:
        process.end(deadline, reason)
