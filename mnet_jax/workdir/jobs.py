"""What was given to a cluster: `jobs/<name>.json` has the groups of a job, `jobs/<name>.<index>` says where one began.

A job is written before the cluster gets it, so that no process that trains is ever unknown; that a group's mark is
there proves that its node sees the workdir.
"""

import os
import pathlib
import platform
import re
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from mnet_jax.workdir.files import Workdir
from mnet_jax.workdir.whole import Damaged, read_json, write_json

NODE, JOB = "MNET_JAX_NODE", "MNET_JAX_JOB"  # variables of the environment of a process that a cluster started


class Ticket(NamedTuple):
    """A group of a job."""

    job: str
    index: int


class Jobs:
    """Those of a workdir."""

    def __init__(self, workdir: Workdir):
        self._workdir, self._path = workdir, workdir.path / "jobs"

    def add(self, groups: Sequence[Sequence[str]]) -> str:
        """Notes a job with groups of trials by name, and returns the job's name: the workdir's, and what is unique."""
        word = re.sub(r"[^A-Za-z0-9]+", "-", self._workdir.path.absolute().name).strip("-")[:40] or "sweep"
        name = f"{word}-{uuid.uuid4().hex[:8]}"
        self._path.mkdir(exist_ok=True)
        write_json(self._path / f"{name}.json", {"groups": [list(group) for group in groups]})
        return name

    def groups(self) -> dict[Ticket, list[str]]:
        """The names of the trials of all that was given and not forgotten."""
        found = {}
        for path in sorted(self._path.glob("*.json")):
            for index, names in enumerate(_groups(path)):
                found[Ticket(path.stem, index)] = names
        return found

    def group(self, ticket: Ticket) -> list[str]:
        """The names of the trials of one."""
        return _groups(self._path / f"{ticket.job}.json")[ticket.index]

    def begin(self, ticket: Ticket) -> None:
        """Says that it is this process that sees to the training of a group."""
        write_json(self._mark(ticket), whereabouts())

    def begun(self) -> set[Ticket]:
        """The groups that began; lists the folder, as NFS may remember for a while that a file was not there."""
        names = (path.name.rpartition(".") for path in self._path.glob("*.[0-9]*") if ".meeting." not in path.name)
        return {Ticket(job, int(index)) for job, _, index in names if index.isdecimal()}

    def meeting(self, ticket: Ticket, starts: int) -> pathlib.Path:
        """File by which the hosts of a group find each other, after so many starts before."""
        return self._path / f"{ticket.job}.{ticket.index}.meeting.{starts}"

    def forget(self, job: str) -> None:
        """Deletes what is known of a job whose groups have all ended."""
        for path in [*self._path.glob(f"{job}.[0-9]*"), self._path / f"{job}.json"]:
            path.unlink(missing_ok=True)

    def _mark(self, ticket: Ticket) -> pathlib.Path:
        return self._path / f"{ticket.job}.{ticket.index}"


def whereabouts() -> dict[str, Any]:
    """{"node", "job", "requeues"} of this process in a cluster; empty where it is not in one."""
    if JOB not in os.environ:
        return {}
    requeues = os.environ.get("SLURM_RESTART_COUNT")
    return {
        "node": os.environ.get(NODE) or platform.node(),
        "job": os.environ[JOB],
        **({"requeues": int(requeues)} if requeues else {}),
    }


def _groups(path: pathlib.Path) -> list[list[str]]:
    try:
        return read_json(path).get("groups", [])
    except Damaged:
        return []
