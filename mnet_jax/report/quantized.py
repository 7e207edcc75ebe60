"""What int8 keeps of the accuracy: the twin of the curve, and the differences with their errors."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mnet_jax.report.panel import label_ticks
from mnet_jax.report.points import Point, differing, replicates, settings_columns
from mnet_jax.report.styles import Styles
from mnet_jax.report.tables import table
from mnet_jax.workdir.files import DONE
from mnet_jax.workdir.results import Row


@dataclasses.dataclass(frozen=True)
class Pair:
    """Trials that differ in nothing but a seed, in float32 and in int8.

    Attributes:
      point: their mean top-1 in float32.
      int8: their mean top-1 in int8, a fraction.
      error: standard error of the mean difference, of networks and their own twins; None of a single network.
      count: of them.
    """

    point: Point
    int8: float
    error: float | None
    count: int


def pairs(rows: Sequence[Row]) -> list[Pair]:
    """The replicates that were exported to int8, all of them."""
    done = [row for row in rows if row["status"] == DONE]
    groups = [same for same in replicates(done) if all(row.get("top1_int8") is not None for row in same)]
    return [_pair(same) for same in groups]


def _pair(same: Sequence[Row]) -> Pair:
    lost = [row["top1_int8"] - row["top1"] for row in same]
    error = statistics.stdev(lost) / math.sqrt(len(lost)) if len(lost) > 1 else None
    mean = statistics.mean(row["top1"] for row in same)
    return Pair(Point(same[0], mean, 0.0, None), mean + statistics.mean(lost), error, len(same))


def as_text(rows: Sequence[Row]) -> str:
    """A line for each pair, differences in points; "" where nothing was exported to int8."""
    twins = pairs(rows)
    if not twins:
        return ""
    first = [pair.point.row for pair in twins]
    swept = differing(first, settings_columns(first)) or ["model"]
    header = (*swept, "n", "top1", "top1_int8", "points", "se")
    lines = [
        (
            *(str(pair.point.get(column)) for column in swept),
            str(pair.count),
            f"{pair.point.mean:.4f}",
            f"{pair.int8:.4f}",
            f"{100 * (pair.int8 - pair.point.mean):+.2f}",
            "-" if pair.error is None else f"{100 * pair.error:.2f}",
        )
        for pair in twins
    ]
    return table(header, lines, [False] * len(swept) + [True] * 5)


def figure(twins: Sequence[Pair]) -> Figure:
    """Top-1 against Mult-Adds: float32 filled and joined by a line, int8 hollow and dashed."""
    points = [pair.point for pair in twins]
    of_int8 = {id(pair.point): pair for pair in twins}
    styles = Styles([points])
    drawn = Figure(figsize=(7.2, 5))
    drawn.set_layout_engine("constrained")
    FigureCanvasAgg(drawn)
    axes = drawn.subplots()
    for line in styles.lines(0, points, "mult_adds"):
        costs = [point.get("mult_adds") for point in line]
        twin = [of_int8[id(point)] for point in line]
        color = styles.color(0, line[0])
        axes.plot(costs, [100 * point.mean for point in line], color=color)
        axes.plot(costs, [100 * pair.int8 for pair in twin], color=color, linestyle="--")
        for pair, cost in zip(twin, costs, strict=True):
            look = {"color": styles.color(0, pair.point), "marker": styles.marker(0, pair.point), "linestyle": ""}
            axes.plot(cost, 100 * pair.point.mean, **look)
            bar = 100 * (pair.error or 0)
            axes.errorbar(cost, 100 * pair.int8, bar, markerfacecolor="white", capsize=3, **look)
    axes.set_xscale("log")
    label_ticks(axes, [point.get("mult_adds") for point in points])
    axes.set_xlabel("Mult-Adds per image (log scale)")
    axes.set_ylabel("top-1 accuracy (%)")
    axes.grid(True, which="major", color="0.92", zorder=0)
    kinds = [
        Line2D([], [], color="0.3", marker="o", label="float32"),
        Line2D([], [], color="0.3", marker="o", linestyle="--", markerfacecolor="white", label="int8"),
    ]
    axes.legend(handles=[*styles.handles(0, points), *kinds], frameon=False, loc="best", fontsize=9)
    note = "Bars: standard error of what int8 loses, over seeds." if any(pair.error for pair in twins) else ""
    drawn.supxlabel(note, fontsize=8, color="0.35")
    return drawn
