"""The table of a sweep to plots: means over seeds, with their standard deviations as error bars."""

import importlib.resources
import io
import json
import textwrap
from collections.abc import Sequence

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mnet_jax.report.panel import Panel
from mnet_jax.report.points import in_words, number, points
from mnet_jax.report.styles import Styles, model_name, multiples
from mnet_jax.workdir import results
from mnet_jax.workdir.files import DONE, Workdir, write_bytes
from mnet_jax.workdir.results import Row

PUBLISHED = importlib.resources.files("mnet_jax.cost").joinpath("published.json")  # the papers' cells, exact costs

_IMAGENET = ("imagenet", "imagenet_validation", "imagenet2012")
_AXES = {
    "mult_adds": ("accuracy_vs_mult_adds.png", "Mult-Adds per image"),
    "params": ("accuracy_vs_params.png", "trainable parameters"),
}
_MOST_COLUMNS = 3  # of panels
_SMALL, _LEGEND = 8, 9  # sizes of fonts


def draw(workdir: Workdir) -> list[str]:
    """Draws both plots from `results.csv`; returns the paths. Nothing is drawn before the first trial is done."""
    rows = [row for row in results.read(workdir.results_path) if row["status"] == DONE]
    paths = []
    for field, (name, label) in _AXES.items():
        if any(_is_drawn(row, field) for row in rows):
            figure = _figure(rows, field, label)
            path = workdir.path / name
            picture = io.BytesIO()
            figure.savefig(picture, dpi=150)
            write_bytes(path, picture.getvalue())
            paths.append(str(path))
    return paths


def _is_drawn(row: Row, field: str) -> bool:
    return bool(row[field]) and row["top1"] is not None


def _figure(rows: Sequence[Row], field: str, label: str) -> Figure:
    drawn = [row for row in rows if _is_drawn(row, field)]
    groups = multiples(points(drawn))
    is_split = len(groups) > 1
    if published := _published(drawn):
        groups.append(("ImageNet, published", points(published)))
    title = _title(drawn)
    if not is_split:
        groups[0] = (title, groups[0][1])
    styles = Styles([own for _, own in groups])
    num_columns = min(len(groups), _MOST_COLUMNS)
    num_rows = -(-len(groups) // num_columns)
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7.2 if num_columns == 1 else 2.4 + 4.8 * num_columns, 5 * num_rows))
        figure.set_layout_engine("constrained")
        FigureCanvasAgg(figure)
        subplots = figure.subplots(num_rows, num_columns, squeeze=False, sharey=True, sharex=is_split).flat
        for axes in subplots[len(groups) :]:
            axes.set_axis_off()
        panels = []
        for i, (axes, (name, own)) in enumerate(zip(subplots, groups, strict=False)):
            panels.append(Panel(axes, own, field, styles, i))
            axes.set_title(textwrap.fill(name, 84), fontsize=12 if len(name) < 68 else 10)
            axes.set_xlabel(f"{label} (log scale)")
            axes.tick_params(labelbottom=True)
        for axes in subplots[::num_columns]:
            axes.set_ylabel("top-1 accuracy (%)")
        if is_split:
            figure.suptitle(title, fontsize=12)
            costs = [point.get(field) for _, own in groups for point in own]
            subplots[0].set_xlim(min(costs) / 1.35, max(costs) * 1.35)
        note = _note(styles, len(rows) - len(drawn), panels)
        if note:
            width = int(16.5 * figure.get_figwidth())
            figure.supxlabel(textwrap.fill(note, width), fontsize=_SMALL, color="0.35")
        _lay_out(figure, panels, is_split)
        for panel in panels:
            panel.write_labels()
    return figure


def _lay_out(figure: Figure, panels: Sequence[Panel], is_split: bool) -> None:
    """Gives everything its place; the legend goes to the right of the panels where it would cover something."""
    figure.draw_without_rendering()
    if is_split or not all(panel.has_room_for_its_legend() for panel in panels):
        handles = {handle.get_label(): handle for panel in panels for handle in panel.drop_legend()}
        look = {"loc": "outside right upper", "frameon": False, "fontsize": _LEGEND}
        legend = figure.legend(handles=list(handles.values()), **look)
        figure.draw_without_rendering()
        figure.set_figwidth(figure.get_figwidth() + legend.get_window_extent().width / figure.dpi)
        figure.draw_without_rendering()


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
    cells = json.loads(PUBLISHED.read_text())
    columns = ("model", "alpha", "input_size", "mult_adds", "params", "top1")
    return [
        dict.fromkeys(results.COLUMNS) | {column: cell[column] for column in columns}
        for cell in cells
        if cell.get("model") in models and cell["table"].startswith("TF-slim")
    ]


def _note(styles: Styles, num_missing: int, panels: Sequence[Panel]) -> str:
    """What a reader of the labels must know, and what was left out."""
    usual = dict.fromkeys(
        in_words(styles.names[column], value)
        for roles in styles.all_roles()
        for column, value in roles.usual.items()
        if column != "options"
    )
    follows = dict.fromkeys(styles.names[column] for roles in styles.all_roles() for column in roles.follows)
    missing = f"{num_missing} trial{'s' if num_missing > 1 else ''}"
    parts = [
        f"Where nothing else is written: {', '.join(usual)}." if usual else "",
        f"Varies along with what is shown: {', '.join(follows)}." if follows else "",
        f"Not drawn: {missing} of unknown cost." if num_missing else "",
        "Points of one cost stand side by side." if any(panel.has_shifts for panel in panels) else "",
        "Error bars: standard deviation over seeds." if any(panel.has_bars for panel in panels) else "",
    ]
    return " ".join(filter(None, parts))
