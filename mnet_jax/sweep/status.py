"""What the files say of a sweep's trials: what runs, since when, how far it is, and what failed."""

import datetime
from collections.abc import Iterable, Iterator, Sequence

from mnet_jax.report.tables import table
from mnet_jax.workdir.files import DONE, QUEUED, RUNNING, TUNED, TrialFolder, Workdir

_COLUMNS = ("trial", "status", "since", "step", "of", "epoch", "loss")


def status_lines(names: Iterable[str], workdir: Workdir) -> Iterator[str]:
    """A table of trials, and what is wrong with those that are not done; reads files, and neither waits nor writes.

    A trial that was `running` when its machine stopped is told by the lock that no process holds.

    Args:
      names: of the trials, as the workdir knows them.
      workdir: of the sweep, running or not.
    """
    folders = [workdir.trial(name) for name in names]
    yield table(_COLUMNS, [_cells(folder) for folder in folders], (False, False, False, True, True, True, True))
    yield from filter(None, map(complaint, folders))
    counts = [sum(folder.status() == DONE for folder in folders), sum(_is_running(folder) for folder in folders)]
    yield f"{counts[0]} of {len(folders)} trials done, {counts[1]} running"


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


def _is_running(folder: TrialFolder) -> bool:
    return folder.status() == RUNNING and folder.is_locked()
