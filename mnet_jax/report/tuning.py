"""What was tried in each cell of a tuned sweep and what was chosen: a table, and a plot of validation accuracy."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mnet_jax.report.plots import LOOK
from mnet_jax.report.points import Point
from mnet_jax.report.styles import Styles, is_number
from mnet_jax.report.tables import table
from mnet_jax.workdir.files import Damaged, Workdir, write_bytes
from mnet_jax.workdir.results import Row

_Cell = Mapping[str, Any]


def as_tuning_table(workdir: Workdir) -> str:
    """A line per cell: validation top-1 of every value, the chosen one in brackets; "" where nothing was tuned."""
    axes, cells = read(workdir)
    if not cells:
        return ""
    tried = list(dict.fromkeys(_words(one["values"]) for cell in cells for one in cell["tried"]))
    rows = []
    for cell in cells:
        scores = {_words(one["values"]): one["top1"] for one in cell["tried"]}
        chosen = _words(cell["chosen"]) if cell["chosen"] else None
        said = [_score(scores.get(words), words in scores, words == chosen) for words in tried]
        rows.append([cell["cell"] or "all", *said, _edge(cell)])
    lines = [f"validation top-1 by {' and '.join(axes)}; [the best] is trained"]
    return "\n".join([*lines, table(["cell", *tried, "note"], rows, [False, *[True] * len(tried), False])])


def read(workdir: Workdir) -> tuple[dict[str, list], list[_Cell]]:
    """The tuned fields with their values, and the cells; both empty where nothing was tuned or the file is damaged."""
    try:
        tuning = workdir.tuning()
    except Damaged:
        return {}, []
    return tuning.get("axes", {}), tuning.get("cells", [])


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values.values())


def _score(top1: float | None, is_tried: bool, is_chosen: bool) -> str:
    if top1 is None:
        return "-" if is_tried else ""
    return f"[{top1:.4f}]" if is_chosen else f"{top1:.4f} "


def _edge(cell: _Cell) -> str:
    """What is to be said of a best value that is the first or the last of those that were tried."""
    return f"best {' and '.join(cell['at_edge'])} at the edge of its range" if cell["at_edge"] else ""


def draw(workdir: Workdir, rows: Sequence[Row]) -> list[str]:
    """Draws `tuning.png`: validation top-1 against each tuned field, a line per cell. Returns its path, if any.

    Where several fields are tuned, a point is the best over the values of the others.

    Args:
      workdir: of the sweep.
      rows: of its table, which say how the cells differ.
    """
    axes, cells = read(workdir)
    own = {row["trial"]: row for row in rows}
    cells = [cell for cell in cells if cell["tried"][0]["trial"] in own and any(_is_scored(o) for o in cell["tried"])]
    if not cells:
        return []
    lines = [Point(own[cell["tried"][0]["trial"]], mean=0.0, error=0.0, error_of=None) for cell in cells]
    styles = Styles([lines])
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=(2 + 5.2 * len(axes), 5))
        figure.set_layout_engine("constrained")
        FigureCanvasAgg(figure)
        subplots = figure.subplots(1, len(axes), squeeze=False, sharey=True)[0]
        for subplot, key in zip(subplots, axes, strict=True):
            _draw_field(subplot, key, cells, lines, styles)
        subplots[0].set_ylabel("validation top-1 accuracy (%)")
        if handles := styles.handles(0, lines):
            figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
        best = "; with the best values of the other fields" if len(axes) > 1 else ""
        figure.supxlabel(f"One seed{best}. Ringed: chosen, and trained with every seed.", fontsize=8, color="0.35")
        picture = io.BytesIO()
        figure.savefig(picture, dpi=150)
    path = workdir.path / "tuning.png"
    write_bytes(path, picture.getvalue())
    return [str(path)]


def _draw_field(subplot: Axes, key: str, cells: Sequence[_Cell], lines: Sequence[Point], styles: Styles) -> None:
    found = dict.fromkeys(one["values"][key] for cell in cells for one in cell["tried"])
    values = sorted(found) if all(map(is_number, found)) else list(found)
    is_log = all(is_number(value) and value > 0 for value in values)
    places = {value: value if is_log else i for i, value in enumerate(values)}
    if is_log:
        subplot.set_xscale("log")
        subplot.minorticks_off()
    subplot.set_xticks(list(places.values()), [_words({key: value}) for value in values])
    for cell, line in zip(cells, lines, strict=True):
        best: dict[Any, float] = {}
        for one in filter(_is_scored, cell["tried"]):
            best[one["values"][key]] = max(100 * one["top1"], best.get(one["values"][key], 0.0))
        xs = sorted(best, key=values.index)
        look = {"color": styles.color(0, line), "linestyle": styles.dash(0, line), "marker": styles.marker(0, line)}
        subplot.plot([places[x] for x in xs], [best[x] for x in xs], markersize=5, linewidth=1.4, **look)
        if cell["chosen"] is not None:
            at = cell["chosen"][key]
            subplot.plot(places[at], best[at], marker="o", markersize=11, fillstyle="none", color=look["color"])
        if text := styles.text(0, [line]):
            subplot.annotate(text, (places[xs[-1]], best[xs[-1]]), (5, 0), textcoords="offset points", fontsize=7.5)
    subplot.set_xlabel(f"{key}{' (log scale)' if is_log else ''}")
    subplot.grid(True, which="major", color="0.92", zorder=0)


def _is_scored(one: Mapping[str, Any]) -> bool:
    return one["top1"] is not None and math.isfinite(one["top1"])
