"""`results.csv` while a sweep runs: what was read of the trials is kept, and only those that changed are read again."""

import time

from mnet_jax.workdir import results
from mnet_jax.workdir.files import Workdir

_PAUSE = 20  # after the table was written, in times of what that took
_LONGEST_PAUSE = 5  # seconds


class Table:
    """The table of a workdir, at the cost of what changed.

    What was not noted as a change is missed: at the end of a sweep `results.collect` reads all folders once more.
    """

    def __init__(self, workdir: Workdir):
        self._workdir = workdir
        self._changed: set[str] = set()
        self._due = 0.0
        self._stamp: tuple | None = None  # of what the workdir says of all trials
        self._trials: dict[str, results.Trial] = {}
        self._differing: list[str] | None = None  # see `results.differing`; None where it is to be found anew
        self._telling: list[str] | None = None
        self._lines: dict[str, str] = {}  # by trial; those that are missing are to be made anew

    def change(self, name: str) -> None:
        """Notes that a trial's folder changed."""
        self._changed.add(name)

    def keep_current(self) -> None:
        """Writes the table if a change was noted and the last time is long enough ago; to be called again and again."""
        if self._changed and time.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Writes the table: what `results.write` writes of all folders, where every change was noted."""
        self._read()
        start = time.monotonic()
        if self._differing is None:
            self._differing = results.differing(self._trials.values())
        telling = results.telling(self._differing, self._trials.values())
        if telling != self._telling:
            self._telling = telling
            self._lines.clear()
        columns: tuple[str, ...] = ()
        for name, trial in self._trials.items():
            if name not in self._lines or not columns:
                row = results.as_row(trial, telling)
                columns = columns or tuple(row)
                self._lines[name] = results.line(columns, row)
        if columns:
            results.write_lines(self._workdir, columns, map(self._lines.__getitem__, self._trials))
        else:
            results.write(self._workdir, [])
        ended = time.monotonic()
        self._due = ended + min(_PAUSE * (ended - start), _LONGEST_PAUSE)

    def _read(self) -> None:
        """Reads what changed; all, where the workdir says something new of all trials."""
        changed, self._changed = self._changed, set()
        stamp = self._workdir.stamp()
        if stamp != self._stamp or not changed <= self._trials.keys():
            self._stamp, self._read_trials = stamp, results.reader(self._workdir)
            changed = self._workdir.trial_names()
            self._trials, self._lines, self._differing = {}, {}, None
        for name, trial in zip(changed, self._read_trials(changed), strict=True):
            if name not in self._trials or trial.settings != self._trials[name].settings:
                self._differing = None
            self._trials[name] = trial
            self._lines.pop(name, None)
