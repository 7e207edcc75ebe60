"""The table of a sweep to plots: means over seeds, with their standard deviations as error bars."""

import collections
import importlib.resources
import itertools
import json
import math
import statistics
from collections.abc import Iterable

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mnet_jax.workdir import results
from mnet_jax.workdir.files import DONE, Workdir
from mnet_jax.workdir.results import Row

PUBLISHED = importlib.resources.files("mnet_jax.cost").joinpath("published.json")  # the papers' cells, exact costs

_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")  # Okabe and Ito
_MARKERS = "osD^vP*X"
_DASHES = ("-", "--", ":", "-.")

_SETTINGS = ("options", "learning_rate", "weight_decay")  # trials that differ in these are no replicates

_AXES = {
    "mult_adds": ("accuracy_vs_mult_adds.png", "Mult-Adds per image"),
    "params": ("accuracy_vs_params.png", "trainable parameters"),
}


def draw(workdir: Workdir) -> list[str]:
    """Draws both plots from `results.csv`; returns the paths. Nothing is drawn before the first trial is done."""
    rows = [row for row in results.read(workdir.results_path) if row["status"] == DONE]
    if not rows:
        return []
    paths = []
    for field, (name, label) in _AXES.items():
        figure = _figure(rows, field, label)
        path = workdir.path / name
        figure.savefig(path, dpi=150)
        paths.append(str(path))
    return paths


def _figure(rows: list[Row], field: str, label: str) -> Figure:
    published = _published(rows)
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7.2 if not published else 12, 5), layout="constrained")
        panels = figure.subplots(1, 2 if published else 1, squeeze=False, sharey=bool(published))[0]
        styles = _Styles([*rows, *published])
        _panel(panels[0], rows, field, label, styles, _title(rows))
        if published:
            _panel(panels[1], published, field, label, styles, "ImageNet, published")
    return figure


def _title(rows: list[Row]) -> str:
    """What was trained, where that is one thing: models, data set, size of the test split, epochs."""
    models = " and ".join(dict.fromkeys(row["model"] for row in rows))
    epochs = " or ".join(dict.fromkeys(f"{row['epochs']:g}" for row in rows))
    training = "imported weights" if epochs == "0" else f"{epochs} epochs"
    return f"{models} on {rows[0]['dataset']} ({rows[0]['test_images']:,} test images), {training}"


def _published(rows: list[Row]) -> list[Row]:
    """The papers' accuracies for the models of an ImageNet table; nothing for other data sets."""
    if not all(row["dataset"].startswith("imagenet") for row in rows):
        return []
    models = {row["model"] for row in rows}
    table = json.loads(PUBLISHED.read_text())
    return [row for row in table if row.get("model") in models and row["table"].startswith("TF-slim")]


def _panel(axes, rows: list[Row], field: str, label: str, styles: "_Styles", title: str) -> None:
    points = _mean_over_seeds(rows, field)
    middle = math.sqrt(min(point["x"] for point in points) * max(point["x"] for point in points))
    for _, along_sizes in _grouped(points, "model", "alpha", *_SETTINGS):
        if len(along_sizes) > 1 and field == "mult_adds":
            axes.plot(*_xy(along_sizes), color="0.8", linewidth=1, zorder=1)
    for (model, size, options, _, _), along_alphas in _grouped(points, "model", "input_size", *_SETTINGS):
        color, dash = styles.color[size], styles.dash[model]
        axes.plot(*_xy(along_alphas), dash, color=color, linewidth=1.6, zorder=2)
        alone = len(along_alphas) == 1 and len(styles.dash) > 1  # no line whose dash says the model
        if label_text := ", ".join(filter(None, (model if alone else None, options))):
            _annotate(axes, label_text, max(along_alphas, key=lambda point: point["x"]), middle)
        for point in along_alphas:
            marker = styles.marker[point["alpha"]]
            error = 100 * point["std"] if point["std"] else None
            axes.errorbar(
                point["x"], 100 * point["mean"], error, fmt=marker, color=color, markersize=7, capsize=3, zorder=3
            )
    axes.set_xscale("log")
    _label_ticks(axes.xaxis, [point["x"] for point in points])
    axes.set(xlabel=f"{label} (log scale)", ylabel="top-1 accuracy (%)", title=title)
    axes.grid(True, which="major", color="0.92", zorder=0)
    axes.legend(handles=styles.handles(rows), frameon=False, loc="best", fontsize=9)


def _annotate(axes, text: str, point: dict, middle: float) -> None:
    """Below a point, towards the middle of the axis."""
    is_right = point["x"] > middle
    place = {"xytext": (-6 if is_right else 6, -9), "ha": "right" if is_right else "left"}
    axes.annotate(text, (point["x"], 100 * point["mean"]), textcoords="offset points", fontsize=7, **place)


class _Styles:
    """Colour says input size, marker says alpha, dash says model."""

    def __init__(self, rows: list[Row]):
        def distinct(key, style):
            values = dict.fromkeys(row[key] for row in rows)
            ordered = sorted(values, reverse=True) if key != "model" else list(values)
            return dict(zip(ordered, itertools.cycle(style), strict=False))

        self.color = distinct("input_size", _COLORS)
        self.marker = distinct("alpha", _MARKERS)
        self.dash = distinct("model", _DASHES)

    def handles(self, rows: list[Row]) -> list[Line2D]:
        """The legend of what occurs in `rows`; the model is named where there are several."""

        def present(key, style):
            return [(value, style[value]) for value in style if any(row[key] == value for row in rows)]

        models = [
            Line2D([], [], color="0.3", linestyle=dash, label=model) for model, dash in present("model", self.dash)
        ]
        sizes = [
            Line2D([], [], color=color, label=f"input size {size}") for size, color in present("input_size", self.color)
        ]
        alphas = [
            Line2D([], [], color="0.3", marker=marker, linestyle="", label=f"alpha {alpha:g}")
            for alpha, marker in present("alpha", self.marker)
        ]
        return [*(models if len(models) > 1 else []), *sizes, *alphas]


def _mean_over_seeds(rows: list[Row], field: str) -> list[dict]:
    points = []
    for key, same in _grouped(rows, "model", "alpha", "input_size", *_SETTINGS):
        top1 = [row["top1"] for row in same]
        points.append(
            {
                **dict(zip(("model", "alpha", "input_size", *_SETTINGS), key, strict=True)),
                "x": same[0][field],
                "mean": statistics.mean(top1),
                "std": statistics.stdev(top1) if len(top1) > 1 else 0.0,
            }
        )
    return points


def _grouped(rows: Iterable[dict], *keys: str):
    groups = collections.defaultdict(list)
    for row in rows:
        groups[tuple(row.get(key) for key in keys)].append(row)
    return groups.items()


def _xy(points: list[dict]) -> tuple[list, list]:
    ordered = sorted(points, key=lambda point: point["x"])
    return [point["x"] for point in ordered], [100 * point["mean"] for point in ordered]


def _label_ticks(axis, values: list[float]) -> None:
    """Ticks at 1, 2 and 5 of each decade, in words: 20 M."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _in_words(value)))
    axis.set_minor_formatter(NullFormatter())
    axis.axes.set_xlim(min(values) / 1.35, max(values) * 1.35)


def _in_words(value: float) -> str:
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"
