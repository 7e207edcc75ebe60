"""The table of a sweep to plots: means over seeds, with their standard deviations as error bars."""

import importlib.resources
import json
import textwrap
from collections.abc import Sequence

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mnet_jax.report.panel import Panel
from mnet_jax.report.points import Point, in_words, number, points
from mnet_jax.report.styles import Styles, model_name
from mnet_jax.workdir import results
from mnet_jax.workdir.files import DONE, Workdir
from mnet_jax.workdir.results import Row

PUBLISHED = importlib.resources.files("mnet_jax.cost").joinpath("published.json")  # the papers' cells, exact costs

_IMAGENET = ("imagenet", "imagenet2012")
_AXES = {
    "mult_adds": ("accuracy_vs_mult_adds.png", "Mult-Adds per image"),
    "params": ("accuracy_vs_params.png", "trainable parameters"),
}
_SMALL, _LEGEND = 8, 9  # sizes of fonts


def draw(workdir: Workdir) -> list[str]:
    """Draws both plots from `results.csv`; returns the paths. Nothing is drawn before the first trial is done."""
    rows = [row for row in results.read(workdir.results_path) if row["status"] == DONE]
    paths = []
    for field, (name, label) in _AXES.items():
        if any(_is_drawn(row, field) for row in rows):
            figure = _figure(rows, field, label)
            path = workdir.path / name
            figure.savefig(path, dpi=150)
            paths.append(str(path))
    return paths


def _is_drawn(row: Row, field: str) -> bool:
    return bool(row[field]) and row["top1"] is not None


def _figure(rows: Sequence[Row], field: str, label: str) -> Figure:
    drawn = [row for row in rows if _is_drawn(row, field)]
    published = _published(drawn)
    titles = [_title(drawn), *(["ImageNet, published"] if published else [])]
    groups = [points(drawn), *([points(published)] if published else [])]
    styles = Styles(groups)
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(12 if published else 7.2, 5), layout="constrained")
        FigureCanvasAgg(figure)
        subplots = figure.subplots(1, len(groups), squeeze=False, sharey=bool(published))[0]
        panels = [
            Panel(axes, own, field, styles, i) for i, (axes, own) in enumerate(zip(subplots, groups, strict=True))
        ]
        for axes, title in zip(subplots, titles, strict=True):
            axes.set_title(textwrap.fill(title, 84), fontsize=12 if len(title) < 68 else 10)
            axes.set_xlabel(f"{label} (log scale)")
        subplots[0].set_ylabel("top-1 accuracy (%)")
        if note := _note(groups[0], styles, len(rows) - len(drawn), panels[0].has_shifts):
            figure.supxlabel(textwrap.fill(note, 200 if published else 120), fontsize=_SMALL, color="0.35")
        figure.draw_without_rendering()
        if not all(panel.has_room_for_its_legend() for panel in panels):
            handles = {handle.get_label(): handle for panel in panels for handle in panel.drop_legend()}
            look = {"loc": "outside right upper", "frameon": False, "fontsize": _LEGEND}
            legend = figure.legend(handles=list(handles.values()), **look)
            figure.draw_without_rendering()
            figure.set_figwidth(figure.get_figwidth() + legend.get_window_extent().width / figure.dpi)
            figure.draw_without_rendering()
        for panel in panels:
            panel.write_labels()
    return figure


def _title(rows: Sequence[Row]) -> str:
    """What was trained: networks, data sets, size of the test split, epochs."""

    def either(found, word):
        return f" {word} ".join(dict.fromkeys(found))

    models = list(dict.fromkeys(model_name(row["model"]) for row in rows))
    epochs = list(dict.fromkeys(number(float(row["epochs"])) for row in rows if row["epochs"] is not None))
    images = either((f"{row['test_images']:,}" for row in rows if row["test_images"] is not None), "or")
    training = ["imported weights" if epochs == ["0"] else f"{either(epochs, 'or')} epochs"] if epochs else []
    trained = " and ".join(models) if len(models) <= 3 else f"{len(models)} networks"
    data = either((str(row["dataset"]) for row in rows), "and")
    return ", ".join([f"{trained} on {data}" + (f" ({images} test images)" if images else ""), *training])


def _published(rows: Sequence[Row]) -> list[Row]:
    """The papers' accuracies for the models of an ImageNet table; nothing for other data sets."""
    if not all(str(row["dataset"]).partition(":")[0] in _IMAGENET for row in rows):
        return []
    models = {row["model"] for row in rows}
    table = json.loads(PUBLISHED.read_text())
    return [row for row in table if row.get("model") in models and row["table"].startswith("TF-slim")]


def _note(own: Sequence[Point], styles: Styles, num_missing: int, has_shifts: bool) -> str:
    """What a reader of the labels must know, and what was left out."""
    found = {model: styles.roles(0, model) for model in styles.models}
    usual = dict.fromkeys(
        in_words(styles.names[column], value)
        for roles in found.values()
        for column, value in roles.usual.items()
        if column != "options"
    )
    follows = dict.fromkeys(styles.names[column] for roles in found.values() for column in roles.follows)
    parts = [
        f"Where nothing else is written: {', '.join(usual)}." if usual else "",
        f"Varies along with what is shown: {', '.join(follows)}." if follows else "",
        f"Not drawn: {num_missing} trials whose cost is not known." if num_missing else "",
        "Points of one cost stand side by side." if has_shifts else "",
        "Error bars: standard deviation over seeds." if any(point.sd for point in own) else "",
    ]
    return " ".join(filter(None, parts))
