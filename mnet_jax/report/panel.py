"""One pair of axes: points with error bars, the lines that join them, the legend, and what is written beside them."""

from collections.abc import Collection, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation, Transform

from mnet_jax.report.labels import Label, Place, is_over, place
from mnet_jax.report.points import Point, grouped, in_words, number, values
from mnet_jax.report.styles import Styles, is_number

_MOST_TICKS = 12  # on a colour bar
_MOST_ENTRIES = 10  # of a legend among the points
_APART, _MOST_APART = 5, 24  # points between neighbours of one cost, and between all of them


class Panel:
    """Accuracy against one cost.

    Args:
      axes: where to draw.
      points: what.
      field: the cost, "mult_adds" or "params".
      styles: how settings look.
      index: of the panel in `styles`.
    """

    def __init__(self, axes: Axes, points: Sequence[Point], field: str, styles: Styles, index: int):
        self._axes, self._points, self._field, self._styles, self._index = axes, points, field, styles, index
        self._places: dict[int, Place] = {}  # by the identity of a point
        self._markers: list[Place] = []
        self._lines: list[list[Place]] = []
        self._labels: list[Label] = []
        for model, own in grouped(points, lambda point: point.get("model")).items():
            self._draw_network(model, own)
        axes.set_xscale("log")
        _label_ticks(axes, [x for x, *_ in self._markers])
        axes.margins(y=0.08)
        axes.autoscale_view(scalex=False)
        axes.grid(True, which="major", color="0.92", zorder=0)
        self._draw_color_bars()
        self._legend: Legend | None = None
        if handles := styles.handles(index, points):
            self._legend = axes.legend(handles=handles, frameon=False, loc="best", fontsize=9)

    @property
    def has_bars(self) -> bool:
        """Whether there are error bars."""
        return any(point.sd for point in self._points)

    @property
    def has_shifts(self) -> bool:
        """Whether points of one cost stand side by side."""
        return any(shift for *_, shift in self._places.values())

    def has_room_for_its_legend(self) -> bool:
        """Whether the legend is short and covers nothing; after a layout."""
        if not self._legend:
            return True
        box = self._legend.get_window_extent().extents
        is_short = len(self._legend.get_lines()) <= _MOST_ENTRIES
        return is_short and not is_over(self._axes, box, self._markers, self._lines)

    def drop_legend(self) -> list[Line2D]:
        """Takes the legend away and returns its entries."""
        if self._legend:
            self._legend.remove()
            self._legend = None
        return self._styles.handles(self._index, self._points)

    def write_labels(self) -> None:
        """Writes what neither the legend nor a line says; call it last, after a layout."""
        taken = []
        if self._legend:
            box = self._legend.get_window_extent()
            self._legend.set_loc(tuple(self._axes.transAxes.inverted().transform(box.min)))  # stays where it is
            taken.append(np.array(box.extents))
        place(self._axes, self._labels, self._markers, self._lines, taken)

    def _draw_network(self, model: str, points: Sequence[Point]) -> None:
        roles = self._styles.roles(self._index, model)
        on_one_line = grouped(points, lambda point: values(point, roles.on_one_line)).values()
        across = grouped(points, lambda point: values(point, roles.of_one_marker)).values()
        shifts = self._shifts(roles.color, across)
        for point in points:
            at = (point.get(self._field), 100 * point.mean, shifts.get(point.get(roles.color), 0.0))
            self._places[id(point)] = at
            self._draw_point(point)
        for line in on_one_line:
            line.sort(key=lambda point: (point.get(self._field), point.mean))
            is_joined = self._is_joined(line, roles.marker)
            if is_joined:
                look = {"color": self._styles.color(self._index, line[0]), "linewidth": 1.6, "zorder": 2}
                self._lines.append(self._join(line, **look))
            for part in [line] if is_joined else [[point] for point in line]:
                if text := self._styles.text(self._index, part):
                    self._label(text, part[-1])
        for same in across:
            if self._is_joined(same, roles.color):
                self._join(same, color="0.8", linewidth=1, zorder=1)
        if self._styles.is_spelled(roles.marker):
            self._spell(roles.marker, on_one_line)

    def _shifts(self, column: str | None, across: Collection[Sequence[Point]]) -> dict:
        """How far to the right, in points, each colour stands, where error bars would cover each other.

        These are of one cost: the trials differ in nothing but a colour, which leaves the cost as it is.
        """
        costs = [[point.get(self._field) for point in same] for same in across]
        has_bars = any(point.sd for same in across for point in same)
        is_one_cost = max(map(len, costs)) > 1 and all(len(set(same)) == 1 for same in costs)
        if column is None or not has_bars or not is_one_cost:
            return {}
        present = {point.get(column) for same in across for point in same}
        ordered = [value for value in self._styles.colors[column] if value in present][::-1]
        apart = min(_APART, _MOST_APART / len(ordered))
        return {value: apart * (i - (len(ordered) - 1) / 2) for i, value in enumerate(ordered)}

    def _is_joined(self, points: Sequence[Point], along: str | None) -> bool:
        """Whether points are steps of a number that changes the cost."""
        costs = {point.get(self._field) for point in points}
        return len(costs) > 1 and all(is_number(point.get(along)) for point in points)

    def _join(self, points: Sequence[Point], **look) -> list[Place]:
        places = sorted(self._places[id(point)] for point in points)
        x, y, shifts = zip(*places, strict=True)
        dash = self._styles.dash(self._index, points[0])
        self._axes.plot(x, y, linestyle=dash, transform=self._shifted(shifts[0]), **look)
        return places

    def _draw_point(self, point: Point) -> None:
        at = x, y, shift = self._places[id(point)]
        sd = 100 * point.sd
        look = {"fmt": self._styles.marker(self._index, point), "color": self._styles.color(self._index, point)}
        self._axes.errorbar(x, y, sd or None, markersize=7, capsize=3, zorder=3, transform=self._shifted(shift), **look)
        self._axes.update_datalim([(x, y - sd), (x, y + sd)])  # matplotlib leaves out what is shifted
        self._markers.append(at)
        if sd:
            self._lines.append([(x, y - sd, shift), (x, y + sd, shift)])

    def _shifted(self, shift: float) -> Transform:
        to_the_right = ScaledTranslation(shift / 72, 0, self._axes.figure.dpi_scale_trans)
        return self._axes.transData + to_the_right if shift else self._axes.transData

    def _label(self, text: str, point: Point) -> None:
        self._labels.append(Label(text, self._places[id(point)]))

    def _spell(self, column: str, lines: Sequence[Sequence[Point]]) -> None:
        """Each value of a marker once, on the longest line that has it; between a line's ends the number is enough."""
        said = set()
        for line in sorted(lines, key=len, reverse=True):
            for i, point in enumerate(line):
                value = point.get(column)
                if value not in said:
                    said.add(value)
                    is_end = i in (0, len(line) - 1) or value is None
                    self._label(in_words(self._styles.names[column], value) if is_end else number(value), point)

    def _draw_color_bars(self) -> None:
        """For a colour of too many values for a legend: one field each, from the smallest value up."""
        models = dict.fromkeys(point.get("model") for point in self._points)
        for column in dict.fromkeys(self._styles.roles(self._index, model).color for model in models):
            if self._styles.is_scale(column):
                found = list(self._styles.colors[column].items())[::-1]
                shades = ScalarMappable(
                    BoundaryNorm(np.arange(len(found) + 1) - 0.5, len(found)), ListedColormap([c for _, c in found])
                )
                ticks = range(0, len(found), -(-len(found) // _MOST_TICKS))
                bar = self._axes.figure.colorbar(shades, ax=self._axes, ticks=ticks, label=self._styles.names[column])
                bar.ax.set_yticklabels([number(found[i][0]) for i in ticks])
                bar.ax.minorticks_off()


def _label_ticks(axes: Axes, costs: Sequence[float]) -> None:
    """Ticks at 1, 2 and 5 of each decade, in words: 20 M."""
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _in_words(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(min(costs) / 1.35, max(costs) * 1.35)


def _in_words(value: float) -> str:
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"
