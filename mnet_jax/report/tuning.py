"""What was tried in each cell of a tuned sweep and what was chosen: a table, and a plot of validation accuracy."""

import contextlib
import dataclasses
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mnet_jax.config.tasks import SCORES, Score
from mnet_jax.report.plots import LOOK
from mnet_jax.report.points import Point
from mnet_jax.report.styles import Styles, is_number
from mnet_jax.report.tables import table
from mnet_jax.workdir.files import Workdir
from mnet_jax.workdir.results import Row
from mnet_jax.workdir.whole import Damaged, write_bytes

_Cell = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What `tuning.json` of one or several workdirs says.

    Attributes:
      axes: the tuned fields, by dotted key, and their values.
      cells: each with what was tried and chosen, as `sweep.tune` writes it.
    """

    axes: Mapping[str, Sequence]
    cells: Sequence[_Cell]

    def as_table(self) -> str:
        """A line per cell: the validation score of all values, the chosen in brackets; "" where nothing was tuned."""
        if not self.cells:
            return ""
        tried = list(dict.fromkeys(_words(one["values"]) for cell in self.cells for one in cell["tried"]))
        rows = []
        for cell in self.cells:
            scores = {_words(one["values"]): _reached(one) for one in cell["tried"]}
            chosen = _words(cell["chosen"]) if cell["chosen"] else None
            said = [_score(scores.get(words), words in scores, words == chosen) for words in tried]
            rows.append([cell["cell"] or "all", *said, _edge(cell)])
        text = table(["cell", *tried, "note"], rows, [False, *[True] * len(tried), False])
        return f"validation {_drawn(self.cells).words} by {' and '.join(self.axes)}; [chosen and trained]\n{text}"


def read(workdirs: Iterable[str | os.PathLike]) -> Tuned:
    """The cells of all workdirs; what is damaged is left out."""
    axes: dict[str, list] = {}
    cells: list[_Cell] = []
    for workdir in map(Workdir, workdirs):
        with contextlib.suppress(Damaged):
            said = workdir.tuning()
            axes |= said.get("axes", {})
            cells += said.get("cells", [])
    return Tuned(axes, cells)


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values.values())


def _score(reached: float | None, is_tried: bool, is_chosen: bool) -> str:
    if reached is None:
        return "-" if is_tried else ""
    return f"[{reached:.4f}]" if is_chosen else f"{reached:.4f} "


def _edge(cell: _Cell) -> str:
    """What is to be said of a best value that is the first or the last of those that were tried."""
    return f"best {' and '.join(cell['at_edge'])} at the edge of its range" if cell["at_edge"] else ""


def draw(workdir: Workdir, tuned: Tuned, rows: Sequence[Row]) -> list[str]:
    """Draws `tuning.png`: the validation score against each tuned field, a line per cell. Returns its path, if any.

    Where several fields are tuned, a point is the best over the values of the others.

    Args:
      workdir: where.
      tuned: what was tried.
      rows: of the trial runs, which say how the cells differ.
    """
    axes, own = tuned.axes, {row["trial"]: row for row in rows}
    cells = [cell for cell in tuned.cells if cell["tried"][0]["trial"] in own and any(map(_is_scored, cell["tried"]))]
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
        subplots[0].set_ylabel(f"validation {_drawn(cells).axis} (%)")
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
            best[one["values"][key]] = max(100 * _reached(one), best.get(one["values"][key], 0.0))
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


def _drawn(cells: Sequence[_Cell]) -> Score:
    """The score by which values were chosen: the first of a task."""
    known = (scores[0] for scores in SCORES.values())
    return next(score for score in known if any(score.column in one for cell in cells for one in cell["tried"]))


def _reached(one: Mapping[str, Any]) -> float | None:
    return next(one[scores[0].column] for scores in SCORES.values() if scores[0].column in one)


def _is_scored(one: Mapping[str, Any]) -> bool:
    return _reached(one) is not None and math.isfinite(_reached(one))
