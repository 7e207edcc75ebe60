"""What people see while a sweep runs: a live line in a terminal, plain lines in a log."""

import collections
import datetime
import statistics

from rich.console import Console
from rich.live import Live

from mnet_jax.workdir import QUEUED, RUNNING, TrialFolder


class Progress:
    """Shows trials as their folders change; a context manager."""

    def __init__(self, num_trials: int, num_done: int):
        self._num_trials, self._num_ended = num_trials, num_done
        self._console = Console(highlight=False, soft_wrap=True)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._trial = self._status = None
        self._offset = 0
        self._training: collections.deque[dict] = collections.deque(maxlen=5)

    def __enter__(self) -> "Progress":
        if self._num_ended:
            self.say(f"{self._num_ended} of {self._num_trials} trials are done already")
        self._live.start()
        return self

    def __exit__(self, *_) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Prints a line that stays."""
        self._console.print(line, markup=False)

    def show(self, folder: TrialFolder) -> None:
        """Reads what is new in the folder: a line for each evaluation and for the end; always the live line."""
        if folder.name != self._trial:
            self._begin(folder)
        self._offset = min(self._offset, folder.metrics_size())  # a resumed trial drops the rows it will write again
        rows, self._offset = folder.metrics_since(self._offset)
        for row in rows:
            if "top1" in row:
                self.say(f"  {self._speed_line()}  {row['split']} top-1 {row['top1']:.4f}")
            else:
                self._training.append(row)
        status = folder.status()
        self._live.update(f"  {self._speed_line()}" if status == RUNNING else "")  # fits in 80 columns
        if status != self._status and status not in (QUEUED, RUNNING):
            self.say(f"  {status}" + (f": {folder.error()}" if folder.error() else ""))
        self._status = status

    def _begin(self, folder: TrialFolder) -> None:
        self._trial, self._status = folder.name, None
        self._num_ended += 1
        self._offset = folder.metrics_size()
        self._training.clear()
        self.say(f"[{self._num_ended}/{self._num_trials}] {folder.name}")

    def _speed_line(self) -> str:
        """Epoch, loss, speed and time left, from the last rows of the training log."""
        if not self._training:
            return "starting"
        last = self._training[-1]
        speed = statistics.mean(row["images_per_second"] for row in self._training)
        images_left = (last["total_steps"] - last["step"]) * last["batch_size"]
        return (
            f"epoch {last['epoch']:6.2f}  step {last['step']}/{last['total_steps']}  loss {last['loss']:.4f}  "
            f"{speed:.0f} images/s  {datetime.timedelta(seconds=round(images_left / speed))} left"
        )
