"""What people see while a sweep runs: a live line per stream in a terminal, plain lines in a log."""

import dataclasses
import datetime
import os

from rich.console import Console
from rich.live import Live

from mnet_jax.config.tasks import SCORES
from mnet_jax.workdir.files import QUEUED, RUNNING, TrialFolder

_TRAINING = {"step", "total_steps", "epoch", "loss", "steps_per_second"}  # what is read of a row of metrics.jsonl
_EVALUATION = {"epoch", "split"}


@dataclasses.dataclass
class _Seen:
    """What was shown of a trial: its status, how much of its metrics, and the last row of its training log."""

    status: str
    offset: int
    training: dict | None = None


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """A pipe that its reader closed, such as `head`, is no reason to stop training; Rich would exit."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class Progress:
    """Shows trials as their folders change; a context manager.

    Attributes:
      num_trials: that there will be, trial runs included.
    """

    def __init__(self, num_trials: int, num_done: int):
        self.num_trials, self._num_ended = num_trials, num_done
        self._console = _Console(highlight=False, soft_wrap=True)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._seen: dict[str, _Seen] = {}
        self._at_work: dict[str, _Seen] = {}

    def __enter__(self) -> "Progress":
        if self._num_ended:
            self.say(f"{self._num_ended} of {self.num_trials} trials are done already")
        self._live.start()
        return self

    def __exit__(self, *_) -> None:
        self._live.stop()

    def leave_alone(self, folder: TrialFolder) -> None:
        """Says that a trial which ended without a result is not trained again."""
        self._num_ended += 1
        status = folder.status()
        self.say(f"{folder.name.rpartition('-')[0]}: {status}, not trained again (--retry={status} does)")

    def say(self, line: str) -> None:
        """Prints a line that stays."""
        self._console.print(line, markup=False)

    def show(self, folder: TrialFolder) -> None:
        """Reads what is new in the folder: a line for its start, each evaluation and its end; always the live lines."""
        label = folder.name.rpartition("-")[0]
        seen = self._seen.setdefault(folder.name, _Seen(QUEUED, folder.metrics_size()))
        status = folder.status()
        if status == RUNNING and seen.status != RUNNING:
            self.say(f"{label}: started")
        seen.offset = min(seen.offset, folder.metrics_size())  # a resumed trial drops the rows it will write again
        rows, seen.offset = folder.metrics_since(seen.offset)
        for row in rows:
            if row.keys() >= _EVALUATION:
                left = f", {_time_left(seen.training)} left" if seen.training else ""
                self.say(f"{label}: epoch {row['epoch']:.2f}{left}: {row['split']} {_reached(row)}")
            elif row.keys() >= _TRAINING:
                seen.training = row
        if status != seen.status and status != RUNNING and (status != QUEUED or folder.error()):
            self._say_end(label, status, folder.error())
        if rows or status != seen.status:
            seen.status = status
            if status == RUNNING:
                self._at_work[folder.name] = seen
            else:
                self._at_work.pop(folder.name, None)
            self._live.update("\n".join(self._running()))

    def _say_end(self, label: str, status: str, error: str | None) -> None:
        if status == QUEUED:
            self.say(f"{label}: {error}")
            return
        self._num_ended += 1
        self.say(f"[{self._num_ended}/{self.num_trials}] {label}: {status}" + (f": {error}" if error else ""))

    def _running(self) -> list[str]:
        """A line for the trials that are at the same step: they share a stream. It fits in 80 columns."""
        at_step: dict[int, list[dict]] = {}
        for seen in self._at_work.values():
            if seen.training:
                at_step.setdefault(seen.training["step"], []).append(seen.training)
        return [_line(rows) for rows in at_step.values()]


def _reached(row: dict) -> str:
    first = next(scores[0] for scores in SCORES.values() if scores[0].column in row)
    return f"{first.words} {row[first.column]:.4f}"


def _line(rows: list[dict]) -> str:
    first, losses = rows[0], [row["loss"] for row in rows]
    trials = "1 trial" if len(rows) == 1 else f"{len(rows)} trials"
    loss = f"{min(losses):.2f}" + (f" to {max(losses):.2f}" if len(rows) > 1 else "")
    steps = f"{first['step']}/{first['total_steps']}"
    return f"  {trials}: epoch {first['epoch']:.1f}, {steps}, loss {loss}, {max(map(_time_left, rows))} left"


def _time_left(row: dict) -> datetime.timedelta:
    return datetime.timedelta(seconds=round((row["total_steps"] - row["step"]) / row["steps_per_second"]))
