"""The folders of a sweep and of its trials: the only interface between the sweep, its workers and the report."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import filelock

from mnet_jax.errors import UserError

QUEUED, RUNNING, DONE, FAILED, DIVERGED = ("queued", "running", "done", "failed", "diverged")

_Json = dict[str, Any]


class TrialFolder:
    """One trial: `config.json cost.json status.json metrics.jsonl log.txt checkpoints/ result.json`."""

    def __init__(self, path: pathlib.Path | str):
        self.path = pathlib.Path(path).expanduser()
        self.name = self.path.name
        self.log_path = self.path / "log.txt"
        self.checkpoints_path = self.path / "checkpoints"
        self._config_path = self.path / "config.json"
        self._status_path = self.path / "status.json"
        self._metrics_path = self.path / "metrics.jsonl"
        self._result_path = self.path / "result.json"

    def create(self, config: _Json, cost: _Json | None = None) -> None:
        """Writes the resolved config, the cost of its network, and, unless the trial is there already, `queued`.

        Those of a trial that is done stay as they are: they say what it was trained with.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if self.status() == DONE and self.has_config():
            return
        write_json(self._config_path, config)
        if cost is not None:
            write_json(self.path / "cost.json", cost)
        if not self._status_path.exists():
            self.set_status(QUEUED)

    def workdir(self) -> "Workdir":
        """That the trial belongs to."""
        return Workdir(self.path.absolute().parent.parent)

    def has_config(self) -> bool:
        return self._config_path.is_file()

    def config_text(self) -> str:
        return self._config_path.read_text()

    def config(self) -> _Json:
        return json.loads(self.config_text())

    def status(self) -> str:
        return read_json(self._status_path).get("status", QUEUED)

    def error(self) -> str | None:
        return read_json(self._status_path).get("error")

    def set_status(self, status: str, error: str | None = None) -> None:
        write_json(self._status_path, {"status": status, "error": error})

    def saved_step(self) -> int:
        """The step of the latest checkpoint; 0 where there is none."""
        return max((int(path.name) for path in self.checkpoints_path.glob("[0-9]*") if path.name.isdigit()), default=0)

    def result(self) -> _Json:
        """What the trial reached; empty until it is done."""
        return read_json(self._result_path)

    def set_result(self, result: _Json) -> None:
        write_json(self._result_path, result)

    def metrics(self) -> list[_Json]:
        """The rows of metrics.jsonl."""
        return self.metrics_since(0)[0]

    def metrics_since(self, offset: int) -> tuple[list[_Json], int]:
        """The rows from a position in metrics.jsonl on, and the position behind them.

        A last line that is still being written is left for the next time.
        """
        if not self._metrics_path.exists():
            return [], 0
        with self._metrics_path.open("rb") as file:
            file.seek(offset)
            whole = file.read().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()], offset + len(whole) + bool(whole)

    def metrics_size(self) -> int:
        return self._metrics_path.stat().st_size if self._metrics_path.exists() else 0

    def append_metrics(self, row: _Json) -> None:
        with self._metrics_path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def keep_metrics_until(self, step: int) -> None:
        """Drops the rows of steps that will be trained again."""
        rows = [row for row in self.metrics() if row["step"] <= step]
        write_text(self._metrics_path, "".join(json.dumps(row) + "\n" for row in rows))

    def locked(self, timeout: float) -> filelock.BaseFileLock:
        """A lock that one process at a time holds on the trial; released by the system when that process ends."""
        return filelock.FileLock(self.path / ".lock", timeout=timeout)


class WatchedFolder(TrialFolder):
    """A trial that another process writes, on the same file system; this one trains along and writes nothing."""

    def set_status(self, status: str, error: str | None = None) -> None:
        pass

    def set_result(self, result: _Json) -> None:
        pass

    def append_metrics(self, row: _Json) -> None:
        pass

    def keep_metrics_until(self, step: int) -> None:
        pass

    def locked(self, timeout: float) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()


class Workdir:
    """The folder of a sweep: `sweep.json trials/ source/ output/ results.csv` and the plots."""

    def __init__(self, path: pathlib.Path | str):
        self.path = pathlib.Path(path).expanduser()
        self.results_path = self.path / "results.csv"
        self.output_path = self.path / "output"  # what the processes print
        self._sweep_path = self.path / "sweep.json"

    def trial(self, name: str) -> TrialFolder:
        return TrialFolder(self.path / "trials" / name)

    def has_trials(self) -> bool:
        return (self.path / "trials").is_dir()

    def known_as(self, names: Iterable[str]) -> list[str]:
        """The names under which trials are there: of folders with the same hash at their ends, or else their own."""
        found = sorted((self.path / "trials").iterdir()) if self.has_trials() else []
        folders = [path.name for path in found if path.is_dir()]
        there = {name.rpartition("-")[2]: name for name in folders}
        return [name if name in folders else there.get(name.rpartition("-")[2], name) for name in names]

    def source_path(self, digest: str) -> pathlib.Path:
        """Where the files that a network of one's own is made of are kept."""
        return self.path / "source" / digest

    def sweep(self) -> _Json:
        """What `sweep.json` holds; empty where no sweep was started here."""
        return read_json(self._sweep_path)

    def set_sweep(self, sweep: _Json) -> None:
        write_json(self._sweep_path, sweep)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and holds it for one sweep.

        Raises:
          UserError: the folder cannot be written, or another sweep is running in it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / ".lock", timeout=0).acquire()
        except filelock.Timeout as error:
            raise UserError(
                f"another sweep is running in {self.path}; wait for it or choose another --workdir"
            ) from error
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"cannot write the workdir {self.path}: {reason}") from error
        with lock:
            yield


def read_json(path: pathlib.Path) -> _Json:
    """The object in a file; empty where there is no file."""
    return json.loads(path.read_text()) if path.exists() else {}


def write_json(path: pathlib.Path, value: _Json) -> None:
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_text(path: pathlib.Path, text: str) -> None:
    """Readers see the old file or the new one, also after a crash."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
