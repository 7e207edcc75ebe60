"""Trial folders to one table, and the table back, from files alone."""

import csv
import dataclasses
import hashlib
import io
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from mnet_jax.config.fields import BY_KEY, FIELDS, effective
from mnet_jax.config.tasks import SCORES, TASKS, scores_of
from mnet_jax.errors import UserError
from mnet_jax.workdir import deployment
from mnet_jax.workdir.files import DONE, FAILED, TrialFolder, Workdir
from mnet_jax.workdir.metrics import metrics as numbers_of
from mnet_jax.workdir.whole import Damaged, write_text

CONTRACT = (
    "trial",
    "status",
    "model",
    "alpha",
    "input_size",
    "seed",
    "mult_adds",
    "params",
    "top1",
    "top5",
    "loss",
    "epochs",
    "steps",
    "images_per_second",
    "wall_seconds",
    "device",
)
COSTS = ("mult_adds", "params", "peak_activation_bytes")
COLUMNS = (*CONTRACT, COSTS[2], "dataset", "test_images", "num_classes", "error")  # of every table
SEEDS = ("seed", "data.seed")  # in which replicates differ

_COLUMN_OF = {  # fields that have a column of a shorter name
    "model.name": "model",
    "model.alpha": "alpha",
    "input_size": "input_size",
    "seed": "seed",
    "train.epochs": "epochs",
    "data.name": "dataset",
    "data.tfds_name": "dataset",
}
_SCORES = {task: [c for score in scores for c in (score.column, score.error) if c] for task, scores in SCORES.items()}
_MEASURED = ("loss", "epochs", "steps", "images_per_second", "wall_seconds", "test_images")
_REACHED = (*itertools.chain(*_SCORES.values()), *_MEASURED)
_TEXT = ("trial", "status", "task", "model", "device", "dataset", "error", "replicate", "chosen")  # bare text
_LONGEST_TEXT = 10_000  # characters; the csv module refuses to read cells of 128 kB
_NO_PART_OF_A_TRIAL = ("sweep", "tune", "tune_epochs", "options", "launch")  # sections of a config
_DEFAULTS = {field.key: field.default for field in FIELDS}
_ORDER = {field.key: (field.is_found, i) for i, field in enumerate(FIELDS)}
_BROKEN = (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError)  # what reading a bad file raises

Row = dict[str, Any]
Settings = dict[str, Any]  # what a result depends on, by dotted key


class Rows(list[Row]):
    """Rows of a table, a dict per trial; fractions in [0, 1], seconds, and None for what is not known."""

    def to_pandas(self):
        """The rows as a `pandas.DataFrame`.

        Raises:
          UserError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise UserError("to_pandas needs pandas: pip install pandas") from error
        return pandas.DataFrame(list(self))


def results(*workdirs: str | os.PathLike, metrics: bool = False) -> Rows:
    """The rows of one or several workdirs, read anew from the folders of their trials, or from a `results.csv` alone.

    They have the same columns, among them each field in which trials of whichever workdir differ. A trial that is in
    several workdirs has one row, of where it is done.

    Args:
      *workdirs: of sweeps that have ended, are running, or were made by an earlier version.
      metrics: a row per trial, step and metric instead, of what metrics.jsonl has by now: the columns of the table that
        say what the trial is (all but `status`, `error` and what was measured), then `step`, `metric`, such as
        "train/loss" or "validation/top1", and `value`. A step that was trained again appears once, as it was last.

    Raises:
      UserError: there is neither a trial nor a table in one of them, or, for metrics, no trial; or it is damaged.
    """
    trials, folders, tables = [], [], []
    for workdir in map(Workdir, workdirs):
        if workdir.has_trials():
            trials += (found := read_trials(workdir))
            folders += [workdir.trial(trial.row["trial"]) for trial in found]
        elif metrics:
            raise UserError(f"{workdir.path} has no trials, and only their folders have metrics")
        elif workdir.results_path.exists():
            tables += read(workdir.results_path)
        else:
            raise UserError(f"{workdir.results_path} does not exist; a workdir is the folder of a sweep")
    rows = [*_as_rows(trials), *tables]
    columns = dict.fromkeys(key for row in rows for key in row if key != "replicate")
    columns |= dict.fromkeys(key for row in rows for key in row)
    kept = _without_repetitions(rows) if len(workdirs) > 1 else rows
    if metrics:
        folder_of = {id(row): folder for row, folder in zip(rows, folders, strict=True)}
        return Rows(long for row in kept for long in _long(dict.fromkeys(columns) | row, folder_of[id(row)]))
    return Rows(dict.fromkeys(columns) | row for row in kept)


def _long(row: Row, folder: TrialFolder) -> Iterator[Row]:
    """A row per number of a trial's metrics; see `results`."""
    identity = {key: value for key, value in row.items() if key not in (*_REACHED, "status", "error", "device")}
    for step, name, value in numbers_of(folder):
        yield identity | {"step": step, "metric": name, "value": value}


def collect(workdir: Workdir) -> list[Row]:
    """One row per trial of the workdir; what a trial has not reached yet is None.

    The trials of the last sweep come first, in its order. A trial whose files are damaged has a row that says so.
    """
    return _as_rows(read_trials(workdir))


def _without_repetitions(rows: list[Row]) -> list[Row]:
    """A row for each hash at the end of a trial's name, where the trials agree in all but their seeds, too."""
    found: dict[tuple, Row] = {}
    for row in rows:
        key = (row["trial"].rpartition("-")[2], row.get("replicate"))
        if key not in found or (row["status"] == DONE and found[key]["status"] != DONE):
            found[key] = row
    done = {name for (name, _), row in found.items() if row["status"] == DONE}
    unreadable = [key for key, row in found.items() if key[1] is None and key[0] in done and row["status"] != DONE]
    return [row for key, row in found.items() if key not in unreadable]


def _as_rows(trials: Sequence["Trial"]) -> list[Row]:
    columns = telling(differing(trials), trials)
    return [as_row(trial, columns) for trial in trials]


def as_row(trial: "Trial", columns: Iterable[str]) -> Row:
    """A trial's row in a table that has these columns beside those of every table."""
    return (
        dict.fromkeys(COLUMNS)
        | trial.row
        | {key: trial.settings.get(key) for key in columns}
        | {"replicate": replicate(trial.settings) if trial.settings else None}
    )


def replicate(settings: Settings) -> str:
    """Twelve hex digits, equal for trials that differ in nothing but their seeds.

    A field at its default is left out, so that a field which a later version adds changes nothing; so is the path of
    weights whose content is known.
    """
    beside = (*SEEDS, "train.init_from") if settings.get("train.init_fingerprint") else SEEDS
    own = {
        key: value
        for key, value in settings.items()
        if key not in beside and not (key in _DEFAULTS and value == _DEFAULTS[key])
    }
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:12]


def column_of(key: str) -> str:
    """The column that tells a dotted field."""
    return _COLUMN_OF.get(key, key)


def write(workdir: Workdir, rows: list[Row]) -> None:
    """Writes `results.csv`; readers see the old table or the new one."""
    columns = dict.fromkeys(key for row in rows for key in row) or dict.fromkeys((*COLUMNS, "replicate"))
    write_lines(workdir, columns, (line(columns, row) for row in rows))


def write_lines(workdir: Workdir, columns: Iterable[str], lines: Iterable[str]) -> None:
    """As `write`, of rows that are `line`s already."""
    write_text(workdir.results_path, "".join([_as_csv(columns), *lines]))


def line(columns: Iterable[str], row: Row) -> str:
    """A row as it stands in `results.csv`."""
    return _as_csv(_cell(key, row.get(key)) for key in columns)


def _as_csv(cells: Iterable[str]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def read(path) -> list[Row]:
    """The rows of a `results.csv` of this or an earlier version, as `collect` made them.

    Raises:
      Damaged: it cannot be read, or is no such table.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            lines = csv.reader(file, strict=True)
            columns = next(lines, [])
            if missing := [column for column in CONTRACT if column not in columns]:
                raise ValueError(f"it has no column {missing[0]!r}")
            return [
                dict.fromkeys(COLUMNS) | {key: _parse(key, cell) for key, cell in zip(columns, line, strict=True)}
                for line in lines
                if line
            ]
    except (OSError, ValueError, csv.Error) as error:
        raise Damaged(f"{path} is damaged ({getattr(error, 'strerror', None) or error})") from error


def _cell(key: str, value: Any) -> str:
    """Nothing for None, text as it is, all else as JSON; so is text that reads as JSON, such as "1e5"."""
    if value is None:
        return ""
    if key in _TEXT:
        text = str(value)[:_LONGEST_TEXT].replace("\r", "\n")  # the csv module writes a bare \r that it cannot read
        return text.encode(errors="backslashreplace").decode()
    is_plain = isinstance(value, str) and value.isprintable() and _parse(key, value) == value
    return value if is_plain else json.dumps(value)


def _parse(key: str, cell: str) -> Any:
    if cell == "":
        return None
    if key in _TEXT:
        return cell
    try:
        return _tuples(json.loads(cell))
    except (ValueError, RecursionError):
        return cell


@dataclasses.dataclass(frozen=True)
class Trial:
    """What the files of a trial say; its row lacks the columns that depend on the others."""

    row: Row
    settings: Settings  # empty where the config cannot be read


def read_trials(workdir: Workdir) -> list[Trial]:
    return list(reader(workdir)(workdir.trial_names()))


def reader(workdir: Workdir) -> Callable[[Iterable[str]], Iterator[Trial]]:
    """Reads trials by name, with what the workdir's files say of them all as it is now."""
    counted, chosen, deployed = _counted(workdir), _chosen(workdir), deployment.read(workdir)

    def read_each(names: Iterable[str]) -> Iterator[Trial]:
        for name in names:
            trial = _read_trial(workdir.trial(name), counted.get(name))
            more = {"chosen": chosen.get(name)} if chosen else {}
            yield dataclasses.replace(trial, row=trial.row | more | deployed(name))

    return read_each


def _counted(workdir: Workdir) -> dict[str, dict[str, int]]:
    try:
        return {name: dict(counts) for name, counts in workdir.sweep().get("trials", {}).items()}
    except (Damaged, *_BROKEN):
        return {}


def _chosen(workdir: Workdir) -> dict[str, str]:
    """The fields whose values were chosen for each trial by tuning, such as "optim.learning_rate"."""
    try:
        cells = workdir.tuning().get("cells", [])
        return {name: ",".join(cell["chosen"]) for cell in cells if cell["chosen"] for name in cell["trials"]}
    except (Damaged, *_BROKEN):
        return {}


def _read_trial(folder: TrialFolder, counted: Mapping[str, int] | None) -> Trial:
    """What the files of a trial say; `counted`, or else `cost.json`, what its network costs."""
    cost = folder.cost() if counted is None else counted
    row = {"trial": folder.name, "status": FAILED, **{key: cost.get(key) for key in COSTS}}
    settings: Settings = {}
    part = "config.json"
    try:
        settings = _settings(folder.config())
        row |= {column: settings.get(key) for key, column in _COLUMN_OF.items() if column != "dataset"}
        row["dataset"] = settings.get("data.tfds_name") or settings.get("data.name")
        row["num_classes"] = settings.get("model.num_classes")
        if (task := settings.get("task", TASKS[0])) != TASKS[0]:
            row |= {"task": task} | dict.fromkeys(_SCORES.get(task, ()))
        status, row["error"] = folder.status(), folder.error()
        part = "result.json"
        if status == DONE:
            result = folder.result()
            own = (*_SCORES[task], *_MEASURED)
            row |= {column: _number(result[column]) for column in own if result.get(column) is not None}
            first = scores_of(row)[0].column
            row |= {first: _number(result[first]), "device": result.get("device")}
        row["status"] = status
    except Damaged as error:
        row["error"] = str(error)
    except _BROKEN as error:
        row["error"] = f"{folder.path / part} is damaged ({error!r})"
    return Trial(row, settings)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value


def _settings(config: Mapping) -> Settings:
    """What the result of a resolved config depends on; an earlier version's config has the defaults of newer fields."""
    flat = dict(leaves(config))
    if flat.get("model.name") is None:
        raise ValueError("it names no model")
    own = {key: value for key, value in flat.items() if key.partition(".")[0] not in _NO_PART_OF_A_TRIAL}
    settings = effective(_DEFAULTS | own)
    settings |= {key: own[key] for key in ("model.fingerprint", "train.init_from") if own.get(key) is not None}
    return {
        key: value
        for key, value in settings.items()
        if key.partition(".")[0] not in _NO_PART_OF_A_TRIAL and (key in BY_KEY or value is not None)
    }


def leaves(node: Mapping, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a resolved config, as JSON has it, by dotted key."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _tuples(value)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def differing(trials: Iterable[Trial]) -> list[str]:
    """The fields in which trials differ, by their settings alone: a network's options, then in FIELDS' order."""
    known = [trial for trial in trials if trial.settings]
    keys = dict.fromkeys(key for trial in known for key in trial.settings)
    ordered = sorted(keys, key=lambda key: (key in _ORDER, _ORDER.get(key, (False, 0)), key))
    return [key for key in ordered if _differs(key, known)]


def telling(differing: Iterable[str], trials: Iterable[Trial]) -> list[str]:
    """Those of the fields in which trials differ that no other column tells."""
    known = [trial for trial in trials if trial.settings]
    return [key for key in differing if not _is_told(key, known)]


def _differs(key: str, trials: Sequence[Trial]) -> bool:
    """Whether trials that have a field differ in it; among trials of one network, some may also lack it."""
    values = {repr(trial.settings[key]) for trial in trials if key in trial.settings}
    if len(values) > 1:
        return True
    if key in BY_KEY and key not in ("train.init_from", "model.fingerprint"):
        return False  # another field, in which they differ, says that it has no effect
    by_model = {(trial.row["model"], key in trial.settings) for trial in trials}
    return len(by_model) > len({model for model, _ in by_model})


def _is_told(key: str, trials: Sequence[Trial]) -> bool:
    """Whether the column that a field has already tells its values apart."""
    if key not in _COLUMN_OF:
        return False
    pairs = {(repr(trial.row.get(_COLUMN_OF[key])), repr(trial.settings.get(key))) for trial in trials}
    return len(pairs) == len({told for told, _ in pairs})
