"""Groups of trials in the queue of a cluster: given to it once, and waited for.

Whoever waits may die: the same command finds in the workdir what was given to the cluster (`workdir.jobs`), asks it
what of that has not ended, and gives it the rest. What trains a group on its node is `keeper.keep`.
"""

import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from mnet_jax.devices.signals import Interruption
from mnet_jax.errors import UserError
from mnet_jax.sweep.launchers.contract import Groups, OnPoll
from mnet_jax.workdir.files import FAILED, QUEUED, TrialFolder, Workdir
from mnet_jax.workdir.jobs import Jobs, Ticket

_POLL_SECONDS = 1.0
_GRACE_SECONDS = 150  # for the nodes to save checkpoints

Folders = list[TrialFolder]


class End(NamedTuple):
    """Of a group in a cluster: what is said of it, a part of a sentence, and whether somebody wanted it."""

    text: str = ""
    is_cancelled: bool = False


class Cluster(Protocol):
    """What is asked of a cluster. A group is known to it by its ticket."""

    def submit(self, job: str, groups: Sequence[Sequence[str]]) -> None:
        """Asks for the resources of all groups, and for `keeper.keep` of each where they are.

        Raises:
          UserError: it is refused.
        """

    def alive(self, jobs: Iterable[str]) -> set[Ticket]:
        """The groups of some jobs that wait, train, or are about to start again."""

    def stop(self, tickets: Iterable[Ticket]) -> None:
        """Asks those that train to save and leave, and takes back those that wait."""

    def kill(self, tickets: Iterable[Ticket]) -> None: ...

    def end(self, ticket: Ticket) -> End:
        """What the cluster knows of a group that is not there any more."""


class Queue:
    """The groups of a workdir in a cluster."""

    def __init__(self, cluster: Cluster, workdir: Workdir):
        self._cluster, self._workdir, self._jobs = cluster, workdir, Jobs(workdir)
        self._deaths: dict[str, int] = {}  # of a trial's groups, since it saved a step
        self._saved: dict[str, int] = {}

    def submit(self, groups: Groups) -> dict[Ticket, Folders]:
        """Gives the cluster what it does not have yet.

        Returns:
          The trials in the queue, by ticket, where one of them stands in `groups`.

        Raises:
          UserError: the cluster refuses it.
        """
        known = self._jobs.groups()
        alive = self._cluster.alive({ticket.job for ticket in known}) if known else set()
        self._forget({ticket.job for ticket in known} - {ticket.job for ticket in alive})
        there = {name: ticket for ticket in alive & known.keys() for name in known[ticket]}
        wanted = {folder.name for group in groups for folder in group}
        waited_for = {
            ticket: [self._workdir.trial(name) for name in known[ticket]]
            for name, ticket in there.items()
            if name in wanted
        }
        new = [[folder for folder in group if folder.name not in there] for group in groups]
        return waited_for | self._give([group for group in new if group])

    def wait(self, waited_for: dict[Ticket, Folders], interruption: Interruption, on_poll: OnPoll) -> None:
        """Waits until all have ended; those that end without a word are given to the cluster again.

        Raises:
          Interrupted: there was a reason to stop, and all have saved and left.
          UserError: a group ended before it began.
        """
        try:
            while waited_for:
                interruption.check()
                time.sleep(_POLL_SECONDS)
                jobs = {ticket.job for ticket in waited_for}
                alive, begun = self._cluster.alive(jobs), self.begun()
                for ticket in [ticket for ticket in waited_for if ticket not in alive]:
                    folders = waited_for.pop(ticket)
                    again = self._leftovers(ticket, folders, ticket in begun)
                    for folder in folders:
                        on_poll(folder)
                    waited_for |= self._give([again] if again else [])
                self._forget(jobs - {ticket.job for ticket in alive})
                for folder in (folder for ticket in waited_for.keys() & begun for folder in waited_for[ticket]):
                    on_poll(folder)
            interruption.check()
        finally:
            if waited_for:
                self._stop(waited_for, interruption.reason or "an error of the sweep")

    def begun(self) -> set[Ticket]:
        """The groups that a node has begun to train."""
        return self._jobs.begun()

    def _give(self, groups: Groups) -> dict[Ticket, Folders]:
        if not groups:
            return {}
        for folder in (folder for group in groups for folder in group):
            folder.set_status(QUEUED)
            self._saved[folder.name] = folder.saved_step()
        names = [[folder.name for folder in group] for group in groups]
        job = self._jobs.add(names)
        try:
            self._cluster.submit(job, names)
        except UserError:
            self._forget([job])
            raise
        return {Ticket(job, index): list(group) for index, group in enumerate(groups)}

    def _forget(self, jobs: Iterable[str]) -> None:
        for job in jobs:
            self._jobs.forget(job)

    def _leftovers(self, ticket: Ticket, folders: Folders, has_begun: bool) -> Folders:
        """The trials to start again, of a group that ended."""
        end = self._cluster.end(ticket)
        told = f" ({end.text})" if end.text else ""
        if not has_begun and not end.is_cancelled:
            raise UserError(
                f"a group of job {ticket.job} ended before it began{told}: all nodes must see the workdir "
                f"{self._workdir.path.absolute()} under this path, and have mnet_jax"
            )
        again = []
        for folder in filter(TrialFolder.is_lost, folders):
            has_progressed = folder.saved_step() > self._saved.get(folder.name, 0)
            self._deaths[folder.name] = 1 if has_progressed else self._deaths.get(folder.name, 0) + 1
            if end.is_cancelled:
                folder.set_status(QUEUED, f"its job was cancelled{told}")
            elif self._deaths[folder.name] > 2:
                folder.set_status(FAILED, f"its job ended three times without a step saved in between{told}")
            else:
                folder.set_status(QUEUED, f"its job ended without a word{told}; it starts again")
                again.append(folder)
        return again

    def _stop(self, waited_for: dict[Ticket, Folders], reason: str) -> None:
        """Lets all save their checkpoints, at the same time."""
        self._cluster.stop(waited_for)
        deadline = time.monotonic() + _GRACE_SECONDS
        jobs = {ticket.job for ticket in waited_for}
        while (left := self._cluster.alive(jobs) & waited_for.keys()) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if left:
            self._cluster.kill(left)
        self._forget(jobs - {ticket.job for ticket in self._cluster.alive(jobs)})
        with contextlib.suppress(OSError):  # of a disk that is full
            for folder in (folder for folders in waited_for.values() for folder in folders):
                if folder.is_lost():
                    folder.set_status(QUEUED, f"stopped by {reason}")
