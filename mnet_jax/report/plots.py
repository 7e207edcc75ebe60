"""The table of a sweep to plots: means over seeds with their standard errors, and the law through them."""

import io
import math
import textwrap
from collections.abc import Iterator, Sequence

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mnet_jax.config.tasks import scores_of
from mnet_jax.report import published, quantized
from mnet_jax.report.curves import Curves
from mnet_jax.report.errorbars import IMAGES, SEEDS
from mnet_jax.report.findings import Finding
from mnet_jax.report.multiples import Panels, multiples
from mnet_jax.report.panel import Panel
from mnet_jax.report.points import grouped, in_force, points, reached
from mnet_jax.report.styles import Styles
from mnet_jax.report.words import Words, writable
from mnet_jax.workdir import results
from mnet_jax.workdir.deployment import LATENCY
from mnet_jax.workdir.files import DONE, Workdir
from mnet_jax.workdir.results import Row
from mnet_jax.workdir.whole import write_bytes

LOOK = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "text.parse_math": False}

_IMAGENET = ("imagenet", "imagenet_validation", "imagenet2012")
_AXES = {"mult_adds": "Mult-Adds per image", "params": "trainable parameters"}
_BACKENDS = {"jax_float32": "JAX", "onnx_float32": "onnxruntime"}  # those that compute what top-1 was measured of
_NAMES = {"top1": "accuracy", "miou": "miou"}  # of files, by the score that is drawn
_CROWDED = "Labels that had no room are left out: results.csv has every trial."
_MOST_COLUMNS = 3  # of panels
_SMALL, _LEGEND = 8, 9  # sizes of fonts


def draw(workdir: Workdir, findings: Sequence[Finding] = ()) -> list[str]:
    """Draws the first score of each task against each cost in `results.csv`, and what int8 keeps; returns the paths.

    The costs are Mult-Adds, parameters and the latencies of one image that were measured. Nothing is drawn before the
    first trial is done.

    Args:
      workdir: of the table.
      findings: of the table, whose laws are drawn.
    """
    rows = [row for row in results.read(workdir.results_path) if row["status"] == DONE]
    curves = Curves(findings)
    paths = []
    for score, own in grouped(rows, lambda row: scores_of(row)[0]).items():
        for field, label in (_AXES | _latencies(own)).items():
            if any(_is_drawn(row, field) for row in own):
                paths.append(
                    _save(workdir, f"{_NAMES[score.column]}_vs_{field}.png", _figure(own, field, label, curves))
                )
    if twins := quantized.pairs(rows):
        with matplotlib.rc_context(LOOK):
            paths.append(_save(workdir, "int8.png", quantized.figure(twins)))
    return paths


def _save(workdir: Workdir, name: str, figure: Figure) -> str:
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150)
    write_bytes(workdir.path / name, picture.getvalue())
    return str(workdir.path / name)


def _latencies(rows: Sequence[Row]) -> dict[str, str]:
    """The columns of one image's latency that a table has, and what stands below an axis."""
    columns = dict.fromkeys(column for row in rows for column in row if column.startswith(LATENCY))
    known = ((column, _BACKENDS.get(column.removeprefix(LATENCY))) for column in columns)
    return {column: f"milliseconds per image ({backend})" for column, backend in known if backend}


def _is_drawn(row: Row, field: str) -> bool:
    return bool(row.get(field)) and reached(row) is not None and math.isfinite(reached(row))


def _figure(rows: Sequence[Row], field: str, label: str, curves: Curves) -> Figure:
    """The fewest panels that have room for what must be written in them."""
    known = [row for row in rows if _is_drawn(row, field)]
    drawn = in_force(known)
    left_out = {
        "of unknown cost or score": len(rows) - len(known),
        "at values that tuning gave up": len(known) - len(drawn),
    }
    notes = [f"Not drawn: {n} trial{'s' * (n > 1)} {why}." for why, n in left_out.items() if n]
    for groups in multiples(points(drawn), field):
        figure, num_left_out = _panels(drawn, groups, field, label, curves, notes)
        if not num_left_out:
            return figure
    return _panels(drawn, groups, field, label, curves, [*notes, _CROWDED])[0]


def _panels(
    drawn: Sequence[Row], groups: Panels, field: str, label: str, curves: Curves, notes: Sequence[str]
) -> tuple[Figure, int]:
    """A figure, and how many labels had no room in it."""
    is_split = len(groups) > 1
    if papers := _published(drawn):
        groups = [*groups, ("ImageNet, published", points(papers))]
    styles = Styles([own for _, own in groups])
    title = _title(drawn, styles.words)
    if not is_split:
        groups = [(title, groups[0][1]), *groups[1:]]
    num_columns = min(len(groups), _MOST_COLUMNS)
    num_rows = -(-len(groups) // num_columns)
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=(7.2 if num_columns == 1 else 2.4 + 4.8 * num_columns, 5 * num_rows))
        figure.set_layout_engine("constrained")
        FigureCanvasAgg(figure)
        subplots = figure.subplots(num_rows, num_columns, squeeze=False, sharey=True, sharex=is_split).flat
        for axes in subplots[len(groups) :]:
            axes.set_axis_off()
        panels = []
        for i, (axes, (name, own)) in enumerate(zip(subplots, groups, strict=False)):
            panels.append(Panel(axes, own, field, styles, i, curves))
            text, size = _headline(name, figure.get_figwidth() / num_columns)
            axes.set_title(text, fontsize=size)
            axes.set_xlabel(f"{label} (log scale)")
            axes.tick_params(labelbottom=True)
        for axes in subplots[::num_columns]:
            axes.set_ylabel(f"{scores_of(drawn[0])[0].axis} (%)")
        if is_split:
            text, size = _headline(title, figure.get_figwidth())
            figure.suptitle(text, fontsize=size)
            costs = [point.get(field) for _, own in groups for point in own]
            subplots[0].set_xlim(min(costs) / 1.35, max(costs) * 1.35)
        if note := " ".join([*_notes(styles, panels), *notes]):
            width = int(16.5 * figure.get_figwidth())
            figure.supxlabel(textwrap.fill(note, width), fontsize=_SMALL, color="0.35")
        _lay_out(figure, panels, is_split)
        return figure, sum(panel.write_labels() for panel in panels)


def _headline(text: str, width: float) -> tuple[str, int]:
    """A title in lines that fit a width in inches, and the size of its font."""
    return textwrap.fill(text, int(11.7 * width)), 12 if len(text) < 9.5 * width else 10


def _lay_out(figure: Figure, panels: Sequence[Panel], is_split: bool) -> None:
    """Gives everything its place; the legend goes to the right of the panels where it would cover something."""
    figure.draw_without_rendering()
    if is_split or not all(panel.has_room_for_its_legend() for panel in panels):
        handles = {handle.get_label(): handle for panel in panels for handle in panel.drop_legend()}
        look = {"loc": "outside right upper", "frameon": False, "fontsize": _LEGEND}
        legend = figure.legend(handles=list(handles.values()), **look)
        size = legend.get_window_extent().size / figure.dpi
        figure.set_size_inches(figure.get_figwidth() + size[0], max(figure.get_figheight(), size[1] + 0.2))
        figure.draw_without_rendering()


def _title(rows: Sequence[Row], words: Words) -> str:
    """What was trained: networks, data sets, size of the test split, epochs."""

    def either(found, word):
        return f" {word} ".join(dict.fromkeys(found))

    models = list(dict.fromkeys(words.value("model", row["model"]) for row in rows))
    epochs = list(
        dict.fromkeys(words.value("epochs", float(row["epochs"])) for row in rows if row["epochs"] is not None)
    )
    images = either((f"{row['test_images']:,}" for row in rows if row["test_images"] is not None), "or")
    training = ["imported weights" if epochs == ["0"] else f"{either(epochs, 'or')} epochs"] if epochs else []
    trained = " and ".join(models) if len(models) <= 3 else f"{len(models)} networks"
    data = either((writable(str(row["dataset"])) for row in rows), "and")
    return ", ".join([f"{trained} on {data}" + (f" ({images} test images)" if images else ""), *training])


def _published(rows: Sequence[Row]) -> list[Row]:
    """The papers' accuracies for the models of an ImageNet table; nothing for other data sets."""
    if not all(str(row["dataset"]).partition(":")[0] in _IMAGENET for row in rows):
        return []
    return published.cells({row["model"] for row in rows})


def _notes(styles: Styles, panels: Sequence[Panel]) -> list[str]:
    """What a reader of the labels and the colours must know."""
    words = styles.words
    usual = dict.fromkeys(
        words.setting(column, value)
        for roles in styles.all_roles()
        for column, value in roles.usual.items()
        if column != "options"
    )
    follows = dict.fromkeys(words.names[column] for roles in styles.all_roles() for column in roles.follows)
    alike = ", ".join(words.names[column] for column in styles.alike())
    parts = [
        f"Where nothing else is written: {', '.join(usual)}." if usual else "",
        f"Varies along with what is shown: {', '.join(follows)}." if follows else "",
        f"Neighbouring colours of {alike} look alike: results.csv has every trial." if alike else "",
        "Points of one cost stand side by side." if any(panel.has_shifts for panel in panels) else "",
        *_notes_on_bars(panels),
        *_notes_on_laws(panels),
    ]
    return list(filter(None, parts))


def _notes_on_bars(panels: Sequence[Panel]) -> list[str]:
    of_seeds, of_images = (any(panel.has_bars(source) for panel in panels) for source in (SEEDS, IMAGES))
    thin = "Thin error bars" if of_seeds else "Error bars"
    return [
        "Error bars: standard error over seeds, of a pooled sd." if of_seeds else "",
        f"{thin}: standard error of the test images alone, of one seed." if of_images else "",
    ]


def _notes_on_laws(panels: Sequence[Panel]) -> Iterator[str]:
    """Which form each family's curves are of, how far it misses cells that it does not know, and what its bands say."""
    laws = {id(curve.law): curve for panel in panels for curve in panel.laws}
    said = [f"{c.fit.name} (misses cells left out by {100 * c.fit.loo_mean:.2f} points)" for c in laws.values()]
    if said:
        yield f"Curves: the law, {', '.join(dict.fromkeys(said))}; between cells, costs are interpolated."
    for source in dict.fromkeys(curve.law.source for curve in laws.values() if curve.band is not None):
        yield f"Bands: 95%, of {source}."
