"""One pair of axes: points with error bars, the law or lines that join them, the legend, and what is written there."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation, Transform

from mnet_jax.report.curves import Curve, Curves
from mnet_jax.report.errorbars import IMAGES, SEEDS
from mnet_jax.report.labels import Label, Place, is_over, place
from mnet_jax.report.points import Point, grouped, values
from mnet_jax.report.styles import Styles, by_model, is_joined
from mnet_jax.report.words import folded

_MOST_TICKS = 12  # on a colour bar
_MOST_ENTRIES = 10  # of a legend among the points
_MOST_DECADES = 3  # with three ticks each
_APART, _MOST_APART = 5, 24  # points between neighbours of one cost, and between all of them
_BARS = {SEEDS: (1.6, 3), IMAGES: (0.7, 2)}  # thickness and half the cap of error bars, in points
_BAND = 0.15  # opacity
_COVERED = 1 / 40  # of the height, within which a marker hides part of another


class Panel:
    """Accuracy against one cost.

    Args:
      axes: where to draw.
      points: what.
      field: the cost, such as "mult_adds".
      styles: how settings look.
      index: of the panel in `styles`.
      curves: the laws that points may follow; over parameters there are none.

    Attributes:
      laws: the curves that were drawn.
    """

    def __init__(
        self, axes: Axes, points: Sequence[Point], field: str, styles: Styles, index: int, curves: Curves | None = None
    ):
        self._axes, self._points, self._field, self._styles, self._index = axes, points, field, styles, index
        self._curves = curves or Curves()
        self.laws: list[Curve] = []
        self._places: dict[int, Place] = {}  # by the identity of a point
        self._markers: list[Place] = []
        self._lines: list[list[Place]] = []
        self._labels: list[Label] = []
        self._draw()
        axes.set_xscale("log")
        label_ticks(axes, [x for x, *_ in self._markers])
        axes.margins(y=0.08)
        axes.autoscale_view(scalex=False)
        axes.grid(True, which="major", color="0.92", zorder=0)
        self._draw_color_bars()
        self._legend: Legend | None = None
        if handles := styles.handles(index, points):
            self._legend = axes.legend(handles=handles, frameon=False, loc="best", fontsize=9)
            self._legend.set_in_layout(False)  # one without room is dropped

    def has_bars(self, of: str) -> bool:
        """Whether there are error bars of `errorbars.SEEDS` or `errorbars.IMAGES`."""
        return any(point.error and point.error_of == of for point in self._points)

    @property
    def has_shifts(self) -> bool:
        """Whether points of one cost stand side by side."""
        return any(shift for *_, shift in self._places.values())

    def has_room_for_its_legend(self) -> bool:
        """Whether the legend is short, within the axes, and covers nothing; after a layout."""
        if not self._legend:
            return True
        box, frame = self._legend.get_window_extent(), self._axes.get_window_extent()
        is_short = (
            len(self._legend.get_lines()) <= _MOST_ENTRIES and box.width < frame.width and box.height < frame.height
        )
        return is_short and not is_over(self._axes, np.array(box.extents), self._markers, self._lines)

    def drop_legend(self) -> list[Line2D]:
        """Takes the legend away and returns its entries."""
        if self._legend:
            self._legend.remove()
            self._legend = None
        return self._styles.handles(self._index, self._points)

    def write_labels(self) -> int:
        """Writes what neither the legend nor a line says; call it last, after a layout. Returns what had no room."""
        taken = []
        if self._legend:
            box = self._legend.get_window_extent()
            self._legend.set_loc(tuple(self._axes.transAxes.inverted().transform(box.min)))  # stays where it is
            taken.append(np.array(box.extents))
        return place(self._axes, self._labels, self._markers, self._lines, taken)

    def _draw(self) -> None:
        lines = list(self._styles.lines(self._index, self._points, self._field))
        for line, shift in self._shifts(lines):
            for point in line:
                self._draw_point(point, shift)
            if len(line) > 1:
                look = {"color": self._styles.color(self._index, line[0]), "linewidth": 1.6, "zorder": 2}
                curve = self._curves.through(line) if self._field == "mult_adds" else None
                self._lines.append(self._follow(curve, line, **look) if curve else self._join(line, **look))
            if text := self._styles.text(self._index, line):
                self._label(text, line[-1])
        for model, own in by_model(self._points).items():
            roles = self._styles.roles(self._index, model)
            across = grouped(own, lambda point, roles=roles: values(point, roles.of_one_marker)).values()
            joined = [same for same in across if is_joined(same, roles.color, self._field)]
            for same in joined:
                self._join(same, color="0.8", linewidth=1, zorder=1)
            if self._styles.is_spelled(roles.marker):
                self._spell(roles.marker, [line for line in lines if line[0].get("model") == model], joined)

    def _shifts(self, lines: Sequence[list[Point]]) -> Iterator[tuple[list[Point], float]]:
        """How far to the right, in points, each line stands, so that points of one cost do not hide each other."""
        means = [point.mean for line in lines for point in line]
        height = _COVERED * (max(means) - min(means))
        groups = _of_common_costs(lines, self._field)
        is_hidden = any(_hide(same, self._field, height) for same in groups)
        apart = min(_APART, _MOST_APART / max(map(len, groups))) if is_hidden else 0.0
        for same in groups:
            same.sort(key=lambda line: self._styles.rank(self._index, line[0]), reverse=True)
            for i, line in enumerate(same):
                yield line, apart * (i - (len(same) - 1) / 2)

    def _join(self, points: Sequence[Point], **look) -> list[Place]:
        places = sorted(self._places[id(point)] for point in points)
        x, y, shifts = zip(*places, strict=True)
        dash = self._styles.dash(self._index, points[0])
        self._axes.plot(x, y, linestyle=dash, transform=self._shifted(shifts[0]), **look)
        return places

    def _follow(self, curve: Curve, points: Sequence[Point], **look) -> list[Place]:
        """Draws the law through points, and its band, shifted as they are."""
        *_, shift = self._places[id(points[0])]
        moved = self._shifted(shift)
        dash = self._styles.dash(self._index, points[0])
        self._axes.plot(curve.costs, 100 * curve.scores, linestyle=dash, transform=moved, **look)
        if curve.band is not None:
            low, high = 100 * curve.band
            band = {"color": look["color"], "alpha": _BAND, "linewidth": 0, "zorder": 1, "transform": moved}
            self._axes.fill_between(curve.costs, low, high, **band)
            self._axes.update_datalim([(curve.costs[0], low.min()), (curve.costs[0], high.max())])
        self.laws.append(curve)
        return [(x, 100 * y, shift) for x, y in zip(curve.costs, curve.scores, strict=True)]

    def _draw_point(self, point: Point, shift: float) -> None:
        at = x, y, _ = self._places[id(point)] = (point.get(self._field), 100 * point.mean, shift)
        error = 100 * point.error
        thickness, cap = _BARS.get(point.error_of, (None, 0))
        look = {"fmt": self._styles.marker(self._index, point), "color": self._styles.color(self._index, point)}
        look |= {"elinewidth": thickness, "capthick": thickness, "capsize": cap, "markersize": 7, "zorder": 3}
        self._axes.errorbar(x, y, error or None, transform=self._shifted(shift), **look)
        self._axes.update_datalim([(x, y - error), (x, y + error)])  # matplotlib leaves out what is shifted
        self._markers.append(at)
        if error:
            self._lines.append([(x, y - error, shift), (x, y + error, shift)])

    def _shifted(self, shift: float) -> Transform:
        to_the_right = ScaledTranslation(shift / 72, 0, self._axes.figure.dpi_scale_trans)
        return self._axes.transData + to_the_right if shift else self._axes.transData

    def _label(self, text: str, point: Point) -> None:
        self._labels.append(Label(folded(text), self._places[id(point)]))

    def _spell(self, column: str, lines: Sequence[Sequence[Point]], joined: Sequence[Sequence[Point]]) -> None:
        """Each value of a marker once for each cost, and for costs that a grey line joins; on the longest line.

        Between a line's ends the number is enough.
        """
        said: set[tuple] = set()
        same_as = {id(point): same for same in joined for point in same}
        for line in sorted(lines, key=len, reverse=True):
            for i, point in enumerate(line):
                value = point.get(column)
                if (value, point.get(self._field)) not in said:
                    said |= {(value, other.get(self._field)) for other in same_as.get(id(point), [point])}
                    is_end = i in (0, len(line) - 1) or value is None
                    say = self._styles.words.setting if is_end else self._styles.words.value
                    self._label(say(column, value), point)

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
                bar = self._axes.figure.colorbar(
                    shades, ax=self._axes, ticks=ticks, label=self._styles.words.names[column]
                )
                bar.ax.set_yticklabels([self._styles.words.value(column, found[i][0]) for i in ticks])
                bar.ax.minorticks_off()


def _of_common_costs(lines: Sequence[list[Point]], field: str) -> list[list[list[Point]]]:
    """Lines in groups that have no cost in common."""
    groups: list[tuple[set, list[list[Point]]]] = []
    for line in lines:
        costs, same = {point.get(field) for point in line}, [line]
        for other in [group for group in groups if group[0] & costs]:
            groups.remove(other)
            costs, same = other[0] | costs, other[1] + same
        groups.append((costs, same))
    return [same for _, same in groups]


def _hide(lines: Sequence[Sequence[Point]], field: str, height: float) -> bool:
    """Whether points of one cost, with their error bars, are nearly as high as each other."""
    for same in grouped([point for line in lines for point in line], lambda point: point.get(field)).values():
        same.sort(key=lambda point: point.mean)
        for below, above in itertools.pairwise(same):
            if above.mean - below.mean <= max(height, above.error + below.error):
                return True
    return False


def label_ticks(axes: Axes, costs: Sequence[float]) -> None:
    """Ticks of a log scale at 1, 2 and 5 of each decade, or of many decades at 1 alone, in words: 20 M."""
    is_wide = math.log10(max(costs) / min(costs)) > _MOST_DECADES
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if is_wide else (1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _in_words(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(min(costs) / 1.35, max(costs) * 1.35)


def _in_words(value: float) -> str:
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"
