"""A group that trains on several hosts: a worker on each, which meet at an address that the first one writes down.

What ends one worker ends all (see `devices.multihost`); then the first chooses another address, and all start again
from the checkpoints. The others read in the workdir where to meet, and when it is over.
"""

import pathlib
import socket
import subprocess
import time
from collections.abc import Mapping

from mnet_jax.devices.signals import Interruption
from mnet_jax.sweep.launchers import local
from mnet_jax.workdir.files import FAILED, QUEUED, TrialFolder
from mnet_jax.workdir.whole import Damaged, read_json, write_json

_POLL_SECONDS = 0.5
_GRACE_SECONDS = 120
_MOST_DEATHS = 3  # without a step saved in between


def keep_together(
    folders: list[TrialFolder],
    rank: int,
    hosts: int,
    meeting: pathlib.Path,
    place: Mapping[str, str],
    output: pathlib.Path,
    interruption: Interruption,
) -> None:
    """Trains a group to its end; called on each host.

    Args:
      folders: of the trials.
      rank: of this host; 0 decides.
      hosts: their number.
      meeting: file of this start of the group, which tells where and whether its workers meet.
      place: environment in which a process sees its devices.
      output: folder for what the processes print.
      interruption: asked several times a second.

    Raises:
      Interrupted: there was a reason to stop; all have saved and left.
    """
    output.mkdir(parents=True, exist_ok=True)

    def work(address: str) -> None:
        join = f"--join={address},{hosts},{rank}"
        _finish(local.worker(folders, output / f"{folders[0].name}.{rank}.txt", place, join), interruption)

    if rank == 0:
        try:
            _lead(folders, meeting, work)
        finally:
            write_json(meeting, {"address": None})
    else:
        _follow(meeting, work, interruption)


def _lead(folders: list[TrialFolder], meeting: pathlib.Path, work) -> None:
    deaths = 0
    left = folders
    while left:
        for folder in left:
            folder.set_status(QUEUED)
        saved = {folder.name: folder.saved_step() for folder in left}
        address = f"{socket.gethostname()}:{_free_port()}"
        write_json(meeting, {"address": address})
        work(address)
        left = [folder for folder in folders if folder.is_lost()]
        has_progressed = any(folder.saved_step() > saved.get(folder.name, 0) for folder in left)
        deaths = 1 if has_progressed else deaths + 1
        if deaths >= _MOST_DEATHS:
            for folder in left:
                folder.set_status(FAILED, f"its processes ended {deaths} times without a step saved in between")
            return


def _follow(meeting: pathlib.Path, work, interruption: Interruption) -> None:
    met = None
    while True:
        interruption.check()
        try:
            said = read_json(meeting)
        except Damaged:
            said = {}
        address = said.get("address", met)
        if address is None and said:
            return
        if address != met:
            met = address
            work(address)
        else:
            time.sleep(_POLL_SECONDS)


def _finish(process: subprocess.Popen, interruption: Interruption) -> None:
    """Waits for a worker; one that is asked to leave agrees with the others on the step at which they do."""
    try:
        while process.poll() is None:
            interruption.check()
            time.sleep(_POLL_SECONDS)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdin.close()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        return free.getsockname()[1]
