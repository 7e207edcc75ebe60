"""The table of a sweep for people: a line per trial, and means over trials that differ in nothing but a seed."""

import statistics
from collections.abc import Sequence

from mnet_jax.cli import aligned
from mnet_jax.report.plots import _SETTINGS, _grouped
from mnet_jax.workdir.files import DONE
from mnet_jax.workdir.results import Row

_TABLE = ("trial", "mult_adds", "params", "top1", "top5", "loss", "images_per_second", "wall_seconds", "status")


def as_table(rows: Sequence[Row], columns: Sequence[str] = _TABLE) -> str:
    """The rows as aligned text."""
    numeric = [column not in ("trial", "status") for column in columns]
    return aligned(columns, [[_cell(column, row[column]) for column in columns] for row in rows], numeric)


def as_summary(rows: Sequence[Row]) -> str:
    """Means over trials that differ in nothing but a seed, as aligned text; "" where there are no such trials.

    "sd" is the standard deviation of top-1 among them, with n - 1 in the denominator.
    """
    done = [row for row in rows if row["status"] == DONE]
    groups = _grouped(done, "model", "alpha", "input_size", *_SETTINGS)
    if all(len(same) == 1 for _, same in groups):
        return ""
    swept = [key for key in ("model", "alpha", "input_size", *_SETTINGS) if len({row[key] for row in done}) > 1]
    columns = (*swept, "mult_adds", "params", "n", "top1", "sd", "top5", "loss")
    lines = []
    for _, same in groups:
        top1 = [row["top1"] for row in same]
        means = {name: statistics.mean(row[name] for row in same) for name in ("top5", "loss")}
        sd = f"{statistics.stdev(top1):.4f}" if len(top1) > 1 else None
        line = same[0] | means | {"n": len(same), "top1": statistics.mean(top1), "sd": sd}
        lines.append([_cell(column, line[column]) for column in columns])
    return aligned(columns, lines, [column not in ("model", "options") for column in columns])


def _cell(column: str, value) -> str:
    if value is None:
        return "-"
    if column in ("top1", "top5", "loss"):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
