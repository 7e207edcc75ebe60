"""Every cost that the MobileNet papers and TF-slim's READMEs print, beside the exact cost of our networks.

    python -m mnet_jax.cost.published > experiments/published_costs/README.md

The printed figures and the exact ones are rows of `published.json`; this module counts the networks anew and writes
both as Markdown. A row says which "part" of the network it is about: a kind of layer, the layers whose name starts with
a word, or the "body", everything but the classifier.
"""

import functools
import importlib.resources
import itertools
import json
import math
import sys
from typing import Any

from ml_collections import ConfigDict

from mnet_jax.cost.layers import Cost, count
from mnet_jax.models import registry

FILE = importlib.resources.files("mnet_jax.cost").joinpath("published.json")

_HEADER = """# Published costs, beside ours

Written by `python -m mnet_jax.cost.published`; tests compare it, and our figures with `mnet_jax/cost/published.json`.
Mult-Adds and parameters in millions, as printed; ours exactly, counted by `mnet_jax.cost` for 1000 classes. "yes": the
printed figure is ours, rounded or cut off. The sources count parameters differently: the V1 paper takes the weights
alone; TF-slim's V2 README takes weights and biases, without batch normalisation; its V1 and V3 READMEs take three of
the four variables of batch normalisation (all but the scale). "as there" is our network counted like that.

[Segmentation](segmentation.md) has a page of its own.
"""

_COLUMNS = ("row", "Mult-Adds", "ours", "", "params", "as there", "", "trainable", "weights", "remark")

_BATCH_NORM_VARIABLES = {"TF-slim README, V1": 3, "TF-slim README, V2": 0, "TF-slim README, V3": 3}

Row = dict[str, Any]


def rows() -> list[Row]:
    """The rows of `published.json`."""
    return json.loads(FILE.read_text())


def exact(row: Row) -> dict[str, int]:
    """Our figures for what a row is about; empty for the networks of others.

    Returns:
      "mult_adds", "params" (the trainable ones), "weights", and "params_as_there", counted as the row's source does.
    """
    if "model" not in row:
        return {}
    fields = (row["model"], row["alpha"], row["input_size"], tuple(row.get("options", {}).items()))
    counted = _part(_count(*fields), row.get("part"))
    of_weights = _part(_count(*fields, row["weights_num_classes"]), None) if "weights_num_classes" in row else counted
    without = row.get("mult_adds_without")
    return {
        "mult_adds": _part(counted, "body").mult_adds if without else counted.mult_adds,
        "params": of_weights.params,
        "weights": of_weights.weights,
        "params_as_there": _params_as_there(of_weights, row["table"]),
    }


def as_markdown() -> str:
    """All rows, table by table."""
    sections = [_HEADER]
    for table, group in itertools.groupby(rows(), key=lambda row: row["table"]):
        lines = ["| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|"]
        lines += ["| " + " | ".join(_cells(row)) + " |" for row in group]
        sections.append("\n".join((f"## {table}", "", *lines, "")))
    return "\n".join(sections)


def follows(printed: str, exact_value: float) -> bool:
    """True where `printed` is `exact_value` in millions (or per cent), rounded or cut off to the digits printed."""
    digits = len(printed.rstrip("%").partition(".")[2])
    scaled = exact_value * 10**digits / (1 if printed.endswith("%") else 1e6)
    return round(float(printed.rstrip("%")) * 10**digits) in (math.floor(scaled + 1e-9), math.floor(scaled + 0.5))


def _cells(row: Row) -> tuple[str, ...]:
    ours = exact(row)
    printed = tuple(row.get(f"printed_{name}", "-") for name in ("mult_adds", "params"))
    if not ours:
        return (row["row"], printed[0], "-", "-", printed[1], "-", "-", "-", "-", row["note"])
    shares = _shares(row, ours)
    return (
        row["row"],
        printed[0],
        f"{ours['mult_adds']:,}",
        _yes(follows(printed[0], shares.get("mult_adds", ours["mult_adds"]))),
        printed[1],
        f"{ours['params_as_there']:,}",
        _yes(follows(printed[1], shares.get("weights", ours["params_as_there"]))),
        f"{ours['params']:,}",
        f"{ours['weights']:,}",
        row.get("note", ""),
    )


def _yes(fits: bool) -> str:
    return "yes" if fits else "**no**"


def _params_as_there(counted: Cost, table: str) -> int:
    if table not in _BATCH_NORM_VARIABLES:
        return counted.weights
    channels = counted.by_kind()["batch_norm"].params // 2
    return counted.params + (_BATCH_NORM_VARIABLES[table] - 2) * channels


def _shares(row: Row, ours: dict[str, int]) -> dict[str, float]:
    """Per cent of the whole network, where that is what is printed."""
    if not row["printed_mult_adds"].endswith("%"):
        return {}
    whole = _count(row["model"], row["alpha"], row["input_size"], ())
    return {name: 100 * ours[name] / getattr(whole, name) for name in ("mult_adds", "weights")}


@functools.lru_cache
def _count(model: str, alpha: float, input_size: int, options: tuple, num_classes: int = 1000) -> Cost:
    fields = {"name": model, "alpha": alpha, "num_classes": num_classes, "dtype": "float32"} | dict(options)
    return count(registry.build(ConfigDict(fields)), (input_size, input_size, 3))


def _part(counted: Cost, part: str | None) -> Cost:
    if part is None:
        return counted
    if part in (kinds := counted.by_kind()):
        return kinds[part]
    if part == "body":
        return Cost(tuple(layer for layer in counted.layers if not layer.name.startswith("classifier")))
    return Cost(tuple(layer for layer in counted.layers if layer.name.startswith(part)))


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
