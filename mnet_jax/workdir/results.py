"""Trial folders to one table, from files alone."""

import csv
import io
import re
from typing import Any

from mnet_jax.workdir.files import DONE, Workdir, write_text

COLUMNS = (
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
    "dataset",
    "learning_rate",
    "weight_decay",
    "test_images",
    "cache",
    "options",
    "error",
)

_SHOWN = (
    "name",
    "alpha",
    "input_size",
    "image_size",
    "seed",
    "data.seed",
    "epochs",
    "init_from",
    "learning_rate",
    "weight_decay",
)

_INTEGERS = ("input_size", "seed", "mult_adds", "params", "steps", "test_images")
_FLOATS = (
    "alpha",
    "top1",
    "top5",
    "loss",
    "epochs",
    "images_per_second",
    "wall_seconds",
    "learning_rate",
    "weight_decay",
)

Row = dict[str, Any]


def collect(workdir: Workdir) -> list[Row]:
    """One row per trial of the sweep, in its order; what a trial has not reached yet is None."""
    return [_row(workdir, name, counted) for name, counted in workdir.sweep().get("trials", {}).items()]


def write(workdir: Workdir, rows: list[Row]) -> None:
    """Writes `results.csv`; readers see the old table or the new one."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(workdir.results_path, text.getvalue())


def read(path) -> list[Row]:
    """The rows of a `results.csv`, with numbers as numbers and empty cells as None."""
    with open(path, newline="") as file:
        return [{key: _parse(key, value) for key, value in row.items()} for row in csv.DictReader(file)]


def _parse(key: str, value: str) -> Any:
    if value == "":
        return None
    if key in _INTEGERS:
        return int(value)
    return float(value) if key in _FLOATS else value


def _options(name: str) -> str | None:
    """What a trial's name says that no other column does, such as "separable=False"."""
    parts = re.split(r",(?=[\w.]+=)", name.rpartition("-")[0])
    return ",".join(part for part in parts if "=" in part and part.partition("=")[0] not in _SHOWN) or None


def _row(workdir: Workdir, name: str, counted: dict[str, int]) -> Row:
    folder = workdir.trial(name)
    config = folder.config()
    data = config["data"]
    described = {
        "trial": name,
        "status": folder.status(),
        "model": config["model"]["name"],
        "alpha": config["model"]["alpha"],
        "input_size": config["input_size"],
        "seed": config["seed"],
        "dataset": data["name"],
        "learning_rate": config["optim"]["learning_rate"],
        "weight_decay": config["optim"]["weight_decay"],
        "cache": f"side{data['cache_side']}-q{data['cache_quality']}" if data.get("cache_side") else None,
        "options": _options(name),
        "error": folder.error(),
    }
    reached = folder.result() if described["status"] == DONE else {}
    return dict.fromkeys(COLUMNS) | described | counted | reached
