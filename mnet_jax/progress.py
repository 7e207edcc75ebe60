"""What people see while a sweep runs: a live line in a terminal, plain lines in a log."""

from rich.console import Console
from rich.live import Live

from mnet_jax.workdir import RUNNING, TrialFolder


class Progress:
    """Shows trials as their folders change; a context manager."""

    def __init__(self, num_trials: int, num_done: int):
        self._num_trials, self._num_ended = num_trials, num_done
        self._console = Console(highlight=False, soft_wrap=True)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._last: tuple[str, str] | None = None
        self._num_rows = 0

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
        """Reads the trial's folder: a line where its status changed or an evaluation came in, the live line always."""
        self._show_status(folder)
        rows = folder.metrics()
        for row in rows[self._num_rows :]:
            if "top1" in row:
                self.say(f"  epoch {row['epoch']:6.2f}  {row['split']} top-1 {row['top1']:.4f}  loss {row['loss']:.4f}")
        self._num_rows = len(rows)
        training = [row for row in rows if "images_per_second" in row]
        if training and folder.status() == RUNNING:
            self._live.update(f"{folder.name}  {_line(training)}")
        else:
            self._live.update("")

    def _show_status(self, folder: TrialFolder) -> None:
        current = folder.name, folder.status()
        if current == self._last:
            return
        if self._last is None or self._last[0] != folder.name:
            self._num_ended += 1
            self._num_rows = len(folder.metrics())
            self.say(f"[{self._num_ended}/{self._num_trials}] {folder.name}")
        if current[1] not in (RUNNING, "queued"):
            self.say(f"  {current[1]}" + (f": {folder.error()}" if folder.error() else ""))
        self._last = current


def _line(rows: list[dict]) -> str:
    """Epoch, loss, speed and time left, from the last rows of the training log."""
    last = rows[-1]
    speeds = [row["images_per_second"] for row in rows[-5:]]
    speed = sum(speeds) / len(speeds)
    images_left = (last["total_steps"] - last["step"]) * last["batch_size"]
    return (
        f"epoch {last['epoch']:.2f}  step {last['step']}/{last['total_steps']}  loss {last['loss']:.4f}  "
        f"{speed:.0f} images/s  {_duration(images_left / speed)} left"
    )


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
