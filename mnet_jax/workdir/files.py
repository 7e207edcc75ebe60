"""The folders of a sweep and of its trials: the only interface between the sweep, its workers and the report.

What is damaged raises `Damaged`, which names the file, or is told from what is left: a status from the result.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mnet_jax.config.tasks import SCORES
from mnet_jax.errors import UserError
from mnet_jax.workdir import lease, lines
from mnet_jax.workdir.whole import (
    Damaged,
    read_json,
    set_aside,
    write_bytes,
    write_checked,
    write_json,
)

STATUSES = QUEUED, RUNNING, TUNED, DONE, FAILED, DIVERGED = ("queued", "running", "tuned", "done", "failed", "diverged")

_Json = dict[str, Any]


class TrialFolder:
    """One trial, in `config.json cost.json status.json metrics.jsonl log.txt checkpoints/` and what it reached.

    That is `validation.json predictions.npz result.json`. `holders.jsonl` tells which processes trained it, one by one.

    Attributes:
      whereabouts: of this process in a cluster, as `jobs.whereabouts` gives it; the status tells it.
    """

    def __init__(self, path: pathlib.Path | str):
        self.path = pathlib.Path(path).expanduser()
        self.name = self.path.name
        self.log_path = self.path / "log.txt"
        self.checkpoints_path = self.path / "checkpoints"
        self.predictions_path = self.path / "predictions.npz"
        self.pictures_path = self.path / "pictures"
        self._config_path = self.path / "config.json"
        self._status_path = self.path / "status.json"
        self._metrics_path = self.path / "metrics.jsonl"
        self._validation_path = self.path / "validation.json"
        self._result_path = self.path / "result.json"
        self._cost_path = self.path / "cost.json"
        self._exports_path = self.path / "export" / "export.json"
        self._lease_path = self.path / ".lease"
        self._holders_path = self.path / "holders.jsonl"
        self.whereabouts: _Json = {}

    def create(self, config: _Json, cost: _Json | None = None) -> None:
        """Writes the resolved config, the cost of its network, and, unless the trial is there already, `queued`.

        Those of a trial that is done stay as they are: they say what it was trained with.
        """
        if os.path.lexists(self.path) and not self.path.is_dir():
            set_aside(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        if self._is_done():
            if cost is not None and not self.cost():
                write_checked(self._cost_path, cost)
            with contextlib.suppress(Damaged):
                self.config()
                return
        write_checked(self._config_path, config)
        if cost is not None:
            write_checked(self._cost_path, cost)
        if not self._status_path.is_file():
            self.set_status(QUEUED)

    def workdir(self) -> "Workdir":
        """That the trial belongs to."""
        return Workdir(self.path.absolute().parent.parent)

    def has_config(self) -> bool:
        return os.path.lexists(self._config_path)

    def config_text(self) -> str:
        """The resolved config, as JSON; see `config`."""
        return json.dumps(self.config())

    def config(self) -> _Json:
        """The resolved config.

        Raises:
          Damaged: it is missing or cannot be read.
        """
        if not (config := read_json(self._config_path)):
            raise Damaged(f"{self._config_path} is missing")
        return config

    def cost(self) -> _Json:
        """What the trial's network costs, as `cost.layers.as_dict` gives it; empty where it is not known."""
        try:
            return read_json(self._cost_path)
        except Damaged:
            return {}

    def exports(self) -> _Json:
        """What was measured of the files that the network was exported to, by "onnx", "int8.onnx" and so on."""
        try:
            return read_json(self._exports_path)
        except Damaged:
            return {}

    def add_export(self, name: str, measured: _Json) -> None:
        self._exports_path.parent.mkdir(exist_ok=True)
        write_checked(self._exports_path, self.exports() | {name: measured})

    def status(self) -> str:
        return self._state()[0]

    def error(self) -> str | None:
        return self._state()[1]

    def changed_at(self) -> float | None:
        """When the status was written, in seconds since 1970; None where there is none yet."""
        return self._status_path.stat().st_mtime if self._status_path.exists() else None

    def _state(self) -> tuple[str, str | None]:
        """Status and error; a trial is done when its result is there."""
        if self._is_done():
            return DONE, None
        try:
            said = read_json(self._status_path)
            if (status := said.get("status", QUEUED)) not in STATUSES:
                raise Damaged(f"{self._status_path} is damaged ({status!r} is no status)")
            if status == TUNED and not self.validation():
                return QUEUED, f"{self._validation_path} holds no scores"
            if status != DONE:
                return status, said.get("error")
            self.result()
            return QUEUED, f"{self._result_path} holds no result"
        except Damaged as error:
            return QUEUED, str(error)

    def _is_done(self) -> bool:
        with contextlib.suppress(Damaged):
            result = self.result()
            return any(isinstance(result.get(scores[0].column), int | float) for scores in SCORES.values())
        return False

    def set_status(self, status: str, error: str | None = None) -> None:
        write_json(self._status_path, {"status": status, "error": error, **self.whereabouts})

    def last_whereabouts(self) -> _Json:
        """Where in a cluster the process was that wrote the status; empty where it was not in one."""
        with contextlib.suppress(Damaged):
            return {key: value for key, value in read_json(self._status_path).items() if key not in ("status", "error")}
        return {}

    def saved_step(self) -> int:
        """The step of the latest checkpoint; 0 where there is none."""
        return max((int(path.name) for path in self.checkpoints_path.glob("[0-9]*") if path.name.isdigit()), default=0)

    def result(self) -> _Json:
        """What the trial reached; empty until it is done.

        Raises:
          Damaged: it cannot be read.
        """
        return read_json(self._result_path)

    def set_result(self, result: _Json) -> None:
        write_checked(self._result_path, result)

    def validation(self) -> _Json:
        """What the trial reached on the validation split at its end; empty until it was, and where that is damaged."""
        try:
            return read_json(self._validation_path)
        except Damaged:
            return {}

    def set_validation(self, scores: _Json) -> None:
        write_checked(self._validation_path, scores)

    def set_predictions(self, content: bytes) -> None:
        """Writes what a task's `outcomes` returns; comes before the result, which makes the trial done."""
        write_bytes(self.predictions_path, content)

    def metrics(self) -> list[_Json]:
        """The rows of metrics.jsonl that can be read."""
        return self.metrics_since(0)[0]

    def metrics_since(self, offset: int) -> tuple[list[_Json], int]:
        """The rows from a position in metrics.jsonl on, and the position behind them.

        A last line that is still being written is left for the next time.
        """
        return lines.read(self._metrics_path, offset)

    def metrics_lines(self) -> list[bytes]:
        """The rows of metrics.jsonl as they stand there; `lines.row` reads one."""
        return lines.unread(self._metrics_path)

    def metrics_size(self) -> int:
        return self._metrics_path.stat().st_size if self._metrics_path.is_file() else 0

    def metrics_stamp(self) -> tuple:
        """Another one once metrics.jsonl was written to."""
        return _stamp(self._metrics_path)

    def append_metrics(self, row: _Json) -> None:
        lines.append(self._metrics_path, row)

    def keep_metrics_until(self, step: int) -> None:
        """Drops the rows of steps that will be trained again, and those that cannot be read."""
        lines.keep_until(self._metrics_path, step)

    def locked(self, timeout: float) -> lease.Lease:
        """One process at a time trains the trial, on whichever node; see `lease.Lease`."""
        return _lease(self._lease_path, timeout, self._holders_path, self.whereabouts)

    def is_locked(self) -> bool:
        """Whether a process holds the trial now."""
        return lease.is_held(self._lease_path)

    def is_lost(self) -> bool:
        """Whether nobody trains it, and who did left no word of why."""
        said_nothing = self.status() == RUNNING or (self.status() == QUEUED and self.error() is None)
        return said_nothing and not self.is_locked()


class WatchedFolder(TrialFolder):
    """A trial that another process writes, on the same file system; this one trains along and writes nothing."""

    def set_status(self, status: str, error: str | None = None) -> None:
        pass

    def set_result(self, result: _Json) -> None:
        pass

    def set_validation(self, scores: _Json) -> None:
        pass

    def set_predictions(self, content: bytes) -> None:
        pass

    def append_metrics(self, row: _Json) -> None:
        pass

    def keep_metrics_until(self, step: int) -> None:
        pass

    def locked(self, timeout: float) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()


class Workdir:
    """The folder of a sweep: `sweep.json trials/ source/ output/ results.csv`, the plots, `tuning.json` and `law.json`.

    One that has only a table may have a `predictions.npz` beside it.
    """

    def __init__(self, path: pathlib.Path | str):
        self.path = pathlib.Path(path).expanduser()
        self.results_path = self.path / "results.csv"
        self._tuning_path = self.path / "tuning.json"
        self.predictions_path = self.path / "predictions.npz"
        self.output_path = self.path / "output"  # what the processes print
        self._sweep_path = self.path / "sweep.json"
        self._latency_path = self.path / "latency.json"

    def trial(self, name: str) -> TrialFolder:
        return TrialFolder(self.path / "trials" / name)

    def latencies(self) -> list[_Json]:
        """What `mnet_jax.latency` measured, one entry for each network, machine, backend, precision and batch."""
        try:
            return read_json(self._latency_path).get("measured", [])
        except Damaged:
            return []

    def add_latencies(self, measured: list[_Json]) -> None:
        write_checked(self._latency_path, {"measured": [*self.latencies(), *measured]})

    def has_trials(self) -> bool:
        return (self.path / "trials").is_dir()

    def known_as(self, names: Iterable[str]) -> list[str]:
        """The names under which trials are there: of folders with the same hash at their ends, or else their own."""
        return self.naming()(names)

    def naming(self) -> Callable[[Iterable[str]], list[str]]:
        """`known_as`, by the folders that are there now; they are listed once for all its calls."""
        folders = dict.fromkeys(self._folders())
        there = {name.rpartition("-")[2]: name for name in folders}
        return lambda names: [name if name in folders else there.get(name.rpartition("-")[2], name) for name in names]

    def source_path(self, digest: str) -> pathlib.Path:
        """Where the files that a network of one's own is made of are kept."""
        return self.path / "source" / digest

    def trial_names(self) -> list[str]:
        """Of the trials of the last sweep, in its order, and then of all others whose folders are there."""
        try:
            last = list(self.sweep().get("trials", {}))
        except Damaged:
            last = []
        return list(dict.fromkeys([*last, *self._folders()]))

    def stamp(self) -> tuple:
        """Another one once `sweep.json` or `tuning.json` was written again."""
        return tuple(map(_stamp, (self._sweep_path, self._tuning_path)))

    def sweep(self) -> _Json:
        """What `sweep.json` holds; empty where no sweep was started here.

        Raises:
          Damaged: it cannot be read.
        """
        return read_json(self._sweep_path)

    def set_sweep(self, sweep: _Json) -> None:
        write_checked(self._sweep_path, sweep)

    def tuning(self) -> _Json:
        """What was tried in each cell and chosen, as `sweep.tune` writes it; empty where nothing was.

        Raises:
          Damaged: it cannot be read.
        """
        return read_json(self._tuning_path)

    def set_tuning(self, tuning: _Json) -> None:
        write_checked(self._tuning_path, tuning)

    def set_sweep_aside(self) -> pathlib.Path:
        """Renames a damaged `sweep.json`; returns its new path."""
        return set_aside(self._sweep_path)

    def _folders(self) -> list[str]:
        found = sorted((self.path / "trials").iterdir()) if self.has_trials() else []
        return [path.name for path in found if path.is_dir() and not path.name.startswith(".")]

    def check_place(self) -> None:
        """Looks whether the folder is there or can be made, and makes nothing.

        Raises:
          UserError: something else is in its place, or its parent cannot be written.
        """
        there = next(path for path in (self.path.absolute(), *self.path.absolute().parents) if os.path.lexists(path))
        if not there.is_dir():
            raise UserError(f"cannot write the workdir {self.path}: {there} is no folder")
        if not os.access(there, os.W_OK | os.X_OK):
            raise UserError(f"cannot write the workdir {self.path}: {there} is read-only")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and holds it for one sweep.

        Raises:
          UserError: the folder cannot be written, or another sweep is running in it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for name in ("trials", "output", "source"):
                if (self.path / name).is_file():
                    set_aside(self.path / name)
            held = _lease(self.path / ".lease", 0).__enter__()
        except lease.Held as error:
            raise UserError(
                f"another sweep is running in {self.path} ({error}); wait for it or choose another --workdir"
            ) from error
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"cannot write the workdir {self.path}: {reason}") from error
        try:
            yield
        finally:
            held.__exit__()


def _lease(path: pathlib.Path, timeout: float, *more) -> lease.Lease:
    for place in (path, path.with_name(".lock")):
        if place.is_dir():
            set_aside(place)
    return lease.Lease(path, timeout, *more)


def _stamp(path: pathlib.Path) -> tuple[int, ...]:
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_ino, status.st_mtime_ns, status.st_size
    return ()
