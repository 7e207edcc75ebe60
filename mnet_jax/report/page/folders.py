"""What the folders of trials tell beside the table: curves, layers, configs, the ends of logs, who trained them."""

import base64
import contextlib
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

from mnet_jax.config.tasks import SCORES
from mnet_jax.report.styles import is_number
from mnet_jax.workdir import lines as rows_by_step
from mnet_jax.workdir.files import DIVERGED, DONE, FAILED, TrialFolder, Workdir
from mnet_jax.workdir.results import Row, leaves
from mnet_jax.workdir.whole import Damaged

LINES_OF_A_LOG = 20

_MOST_ROWS, _FEWEST = 30_000, 24  # of all curves together, and of one of the two curves of a trial
_MOST_OF_ONE = 200
_MOST_LOGS = 50
_LOG_BYTES, _LINE = 16_384, 400  # what is read of a log's end, and shown of one of its lines
_MOST_PICTURES, _PICTURE_BYTES = 6, 4_000_000  # of one trial, and of all together
_PLACES = 4  # digits that a curve is drawn with

_Json = dict[str, Any]


class Folders:
    """Those of some workdirs, read again only where their files changed.

    Attributes:
      paths: of the workdirs.
    """

    def __init__(self, paths: Sequence[str | os.PathLike]):
        self.paths = paths
        self._workdirs = [Workdir(path) for path in paths]
        self._known: dict[tuple, tuple] = {}

    def find(self, row: Row) -> TrialFolder | None:
        """The folder of a row; None where only the table is left."""
        found = [workdir.trial(row["trial"]) for workdir in self._workdirs if workdir.has_trials()]
        found = [folder for folder in found if folder.path.is_dir()]
        if len(found) > 1 and row["status"] == DONE:
            found.sort(key=lambda folder: folder.status() != DONE)
        return found[0] if found else None

    def curves(self, folder: TrialFolder, num_trials: int) -> _Json | None:
        """{"epoch", "loss", "rate", "of", "tested": {"epoch", "score", "loss"}, "progress"}, thinned.

        "of" is how many rows there were before the curves of so many trials were thinned to be small together.
        """
        most = max(_FEWEST, min(_MOST_OF_ONE, _MOST_ROWS // max(1, num_trials)))
        return self._once("curves", folder, folder.metrics_size(), lambda: _curves(folder.metrics_lines(), most), most)

    def cost(self, folder: TrialFolder) -> _Json:
        return self._once("cost", folder, None, folder.cost)

    def config(self, folder: TrialFolder) -> dict[str, Any]:
        """By dotted key; empty where it cannot be read."""

        def read():
            with contextlib.suppress(Damaged):
                return dict(leaves(folder.config()))
            return {}

        return self._once("config", folder, None, read)

    def result(self, folder: TrialFolder, status: str) -> _Json:
        """What the trial reached, with what trained it; empty where it is not done, or damaged."""

        def read():
            with contextlib.suppress(Damaged):
                return folder.result()
            return {}

        return self._once("result", folder, status, read) if status == DONE else {}

    def log(self, folder: TrialFolder) -> str:
        """The last lines; "" where there is no log."""
        try:
            with folder.log_path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_BYTES))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(line[:_LINE] for line in text.splitlines()[-LINES_OF_A_LOG:])

    def pictures(self, folder: TrialFolder, num_trials: int) -> list[str]:
        """Addresses that hold the first pictures of `evaluate --pictures`, as many as are small together."""
        paths = sorted(folder.pictures_path.glob("*.png"))[:_MOST_PICTURES]
        budget = _PICTURE_BYTES // max(1, num_trials)

        def read():
            files = [path.read_bytes() for path in paths]
            sizes = itertools.accumulate(map(len, files))
            return [_address(file) for file, size in zip(files, sizes, strict=True) if size <= budget]

        with contextlib.suppress(OSError):
            stamp = [(path.name, path.stat().st_mtime_ns) for path in paths]
            return self._once("pictures", folder, stamp, read, budget)
        return []

    def sweeps(self) -> list[_Json]:
        """{"workdir", "sweep"} of each workdir; the sweep is empty where `sweep.json` is missing or damaged."""
        found = []
        for path, workdir in zip(self.paths, self._workdirs, strict=True):
            sweep: _Json = {}
            with contextlib.suppress(Damaged):
                sweep = workdir.sweep()
            found.append({"workdir": os.fspath(path), "sweep": sweep})
        return found

    def _once(self, what: str, folder: TrialFolder, stamp: Any, read: Callable[[], Any], *more: Any) -> Any:
        """What `read` returned when the stamp was last the same; empty values are read anew."""
        key = (what, str(folder.path))
        known = self._known.get(key)
        if known is None or known[0] != (stamp, *more) or not known[1]:
            known = self._known[key] = ((stamp, *more), read())
        return known[1]


def failures(rows: Sequence[Row], folders: Folders) -> list[_Json]:
    """{"trial", "status", "error", "log"} of each trial that failed or diverged; of the first of them with logs."""
    found = []
    for i, row in enumerate(rows):
        if row["status"] in (FAILED, DIVERGED) or row["error"]:
            folder = folders.find(row) if len(found) < _MOST_LOGS else None
            log = folders.log(folder) if folder else ""
            found.append({"trial": i, "status": row["status"], "error": row["error"], "log": log})
    return found


def _address(file: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(file).decode()}"


def _curves(lines: Sequence[bytes], most: int) -> _Json | None:
    """Of a long training most lines are never read."""
    last = next(filter(None, map(rows_by_step.row, reversed(lines))), None)
    if last is None:
        return None
    trained = [line for line in lines if b'"split"' not in line]
    tested = [line for line in lines if b'"split"' in line]
    columns = (scores[0].column for scores in SCORES.values())
    score = next((column for column in columns if tested and f'"{column}"'.encode() in tested[-1]), "")
    total = last.get("total_steps")
    return {
        **_columns(thinned(trained, most), epoch="epoch", loss="loss", rate="learning_rate"),
        "tested": _columns(thinned(tested, most), epoch="epoch", loss="loss", score=score),
        "of": len(trained),
        "progress": last["step"] / total if is_number(total) and total > 0 else None,
    }


def thinned(rows: Sequence, most: int) -> list:
    """At most so many, evenly spaced, with the first and the last."""
    if len(rows) <= most:
        return list(rows)
    return [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]


def _columns(lines: Sequence[bytes], **names: str) -> dict[str, list]:
    rows = list(filter(None, map(rows_by_step.row, lines)))
    return {short: [_rounded(row.get(name)) for row in rows] for short, name in names.items()}


def _rounded(value: Any) -> float | None:
    return float(f"{value:.{_PLACES}g}") if isinstance(value, float | int) else None
