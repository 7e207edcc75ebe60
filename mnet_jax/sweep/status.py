"""What the files say of a sweep's trials: what runs, since when, how far it is, and what failed."""

import datetime
from collections.abc import Iterator, Sequence

from mnet_jax.report.tables import table
from mnet_jax.sweep.grid import Grid
from mnet_jax.workdir.files import DONE, QUEUED, RUNNING, TUNED, TrialFolder, Workdir
from mnet_jax.workdir.jobs import Jobs, Ticket

_COLUMNS = ("trial", "status", "since", "step", "of", "epoch", "loss")
_IS_NUMBER = (False, False, False, True, True, True, True)


def status_lines(grid: Grid, workdir: Workdir) -> Iterator[str]:
    """A table of trials and trial runs, and what is wrong with those that are not done.

    Reads files, and neither waits nor writes. A trial that was `running` when its machine stopped is told by the lease
    that no process holds. Of a sweep in a cluster it tells the node and the job, or that the trial waits there.

    Args:
      grid: the trials; those that wait for a choice are counted, not listed.
      workdir: of the sweep, running or not.
    """
    folders = [workdir.trial(name) for name in grid.known(workdir)]
    cells, where = [_cells(folder) for folder in folders], _places(folders, workdir)
    if any(where):
        cells = [(*row, place) for row, place in zip(cells, where, strict=True)]
        yield table((*_COLUMNS, "where"), cells, (*_IS_NUMBER, False))
    else:
        yield table(_COLUMNS, cells, _IS_NUMBER)
    yield from filter(None, map(complaint, folders))
    if runs := grid.runs(workdir):
        yield f"{sum(bool(workdir.trial(name).validation()) for name in runs)} of {len(runs)} trial runs done"
    finals = [workdir.trial(name) for name in grid.finals(workdir)]
    num_trials = len(finals) + len(grid.waiting(workdir))
    num_done = sum(folder.status() == DONE for folder in finals)
    yield f"{num_done} of {num_trials} trials done, {sum(map(_is_running, folders))} running"


def complaint(folder: TrialFolder) -> str | None:
    """Why a trial is not done, and where its log is; None where nothing is wrong."""
    status, error = folder.status(), folder.error()
    if status in (TUNED, DONE) or (status in (QUEUED, RUNNING) and not error):
        return None
    return f"{folder.name} {status}: {error} (log: {folder.log_path})"


def _cells(folder: TrialFolder) -> Sequence[str]:
    row = next((row for row in reversed(folder.metrics()) if "total_steps" in row and "loss" in row), {})
    since = folder.changed_at()
    status = folder.status()
    if status == RUNNING and not _is_running(folder):
        status = "was running"
    return (
        folder.name,
        status,
        datetime.datetime.fromtimestamp(since).strftime("%Y-%m-%d %H:%M:%S") if since else "-",
        *(str(row.get(key, "-")) for key in ("step", "total_steps", "epoch")),
        f"{row['loss']:.4f}" if isinstance(row.get("loss"), float) else "-",
    )


def _places(folders: Sequence[TrialFolder], workdir: Workdir) -> list[str]:
    """Where in a cluster each trial was last, or that it waits there; empty where it is in none."""
    jobs = Jobs(workdir)
    begun = jobs.begun()
    queued = {name: ticket for ticket, names in jobs.groups().items() if ticket not in begun for name in names}
    return [_place(folder, queued.get(folder.name)) for folder in folders]


def _place(folder: TrialFolder, ticket: Ticket | None) -> str:
    if ticket is not None:
        return f"in the queue: {ticket.job}, {ticket.index}"
    last = folder.last_whereabouts()
    if not last:
        return ""
    requeues = f", {last['requeues']} requeues" if last.get("requeues") else ""
    return f"{last.get('node')}, job {last.get('job')}{requeues}"


def _is_running(folder: TrialFolder) -> bool:
    return folder.status() == RUNNING and folder.is_locked()
