"""Keeps a group in training on the node where a cluster put it: as the local launcher does, in one place.

A process that dies starts again, one that needs too much memory is halved. The keeper's own end is an end of the pipe
to that process, which saves a checkpoint and leaves.
"""

import os
from collections.abc import Mapping
from typing import NamedTuple

from mnet_jax.devices.signals import Interruption
from mnet_jax.sweep.launchers import local
from mnet_jax.sweep.launchers.hosts import keep_together
from mnet_jax.workdir.files import DONE, Workdir
from mnet_jax.workdir.jobs import JOB, NODE, Jobs, Ticket, whereabouts


class Part(NamedTuple):
    """Of a group that hosts train together: the number of this one, of how many, and how often they started before."""

    rank: int = 0
    hosts: int = 1
    starts: int = 0


_ALONE = Part()


def keep(
    workdir: str,
    ticket: Ticket,
    where: Mapping[str, str],
    place: Mapping[str, str],
    interruption: Interruption,
    part: Part = _ALONE,
) -> None:
    """Trains the group of a ticket to its end.

    Args:
      workdir: of the sweep, the same path on all nodes.
      ticket: of the group.
      where: the names of the node and of the job in the cluster, under `jobs.NODE` and `jobs.JOB`.
      place: environment in which a process sees its devices.
      interruption: asked several times a second.
      part: which this host has in it.

    Raises:
      Interrupted: there was a reason to stop.
      FileNotFoundError: this node does not see the workdir.
    """
    os.environ.update({key: where[key] for key in (NODE, JOB)})
    directory = Workdir(workdir)
    jobs = Jobs(directory)
    if part.rank == 0:
        jobs.begin(ticket)
    folders = [folder for folder in map(directory.trial, jobs.group(ticket)) if folder.status() != DONE]
    for folder in folders:
        folder.whereabouts = whereabouts()
    if part.hosts > 1:
        meeting = jobs.meeting(ticket, part.starts)
        keep_together(folders, part.rank, part.hosts, meeting, place, directory.output_path, interruption)
    elif folders:
        local.launch([folders], [place], directory.output_path, interruption, lambda _: None)
