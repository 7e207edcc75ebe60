"""How points are told apart: which setting is a colour, which a marker, which is written beside the line.

Every network is looked at alone, as networks have different options: a setting that one of them has not, or that does
not vary among its points, takes no part there.
"""

import collections
import dataclasses
import itertools
import math
import numbers
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import matplotlib
from matplotlib.lines import Line2D

from mnet_jax.report.points import Point, differing, grouped, separating, settings_columns, values
from mnet_jax.report.words import Words, folded

MOST = 8  # styles of one kind that can be told apart
_MOST_SHADES = 10  # of a scale

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#8C510A")  # Okabe and Ito
_SCALES = (("viridis", 0.0, 0.84), ("YlOrRd", 1.0, 0.45), ("PuRd", 1.0, 0.45))  # from the largest value to the smallest
_UNSET = "0.6"  # colour of no number on a scale
MARKERS = "osD^vP*X<>ph"
_DASHES = ("-", "--", ":", "-.", (0, (7, 1, 1, 1, 1, 1)), (0, (9, 3)))


@dataclasses.dataclass(frozen=True)
class Roles:
    """The settings of one network by what shows them.

    Attributes:
      color, marker, dash: a setting, or None; where there are several networks, the dash is theirs.
      named: settings whose values are written beside each line.
      usual: settings that most points share, with the usual value; only others are written.
      follows: settings that vary, but only together with those above.
    """

    color: str | None = None
    marker: str | None = None
    dash: str | None = None
    named: tuple[str, ...] = ()
    usual: dict[str, Any] = dataclasses.field(default_factory=dict)
    follows: tuple[str, ...] = ()

    @property
    def on_one_line(self) -> tuple[str, ...]:
        """The settings that the points of a line share."""
        return (*filter(None, (self.color, self.dash)), *self.named, *self.usual)

    @property
    def of_one_marker(self) -> tuple[str, ...]:
        """The settings that points share which differ in colour alone."""
        return (*filter(None, (self.marker, self.dash)), *self.named, *self.usual)


def assign(points: Sequence[Point], is_alone: bool = True) -> Roles:
    """The roles of one network's points; the dash is free for a setting where the network is alone.

    Colour is for the input size and the marker, with a line along it, for alpha. Where these do not vary, other
    settings take their places: along the line goes one that changes the cost. A number of more values than anything
    but a scale can show has the colour. A setting in which single points depart from all others, as in an ablation, is
    written at those.
    """
    columns = settings_columns([point.row for point in points])
    varying = differing(points, columns)
    swept = separating(points, varying)
    usual = {
        column: _usual(points, column)
        for column in swept
        if _is_options(points, column)
        or (len(swept) > 1 and column not in ("alpha", "input_size") and _departs(points, column))
    }
    free = [column for column in swept if column not in usual]
    marker = color = None
    if along := [column for column in free if column != "input_size" and _changes_cost(points, swept, column)]:
        marker = "alpha" if "alpha" in along else max(along, key=lambda column: len(ordered(points, column)))
    elif "alpha" in free:
        marker = "alpha"
    colors = [column for column in free if column != marker and _has_colors(points, column)]
    if colors:
        color = max(colors, key=lambda column: (max(MOST, len(ordered(points, column))), column == "input_size"))
    if marker is None:
        others = [column for column in free if column != color and len(ordered(points, column)) <= MOST]
        marker = max(others, key=lambda column: _is_numeric(points, column), default=None)
    named = [column for column in free if column not in (color, marker)]
    dashes = [column for column in named if len(ordered(points, column)) <= len(_DASHES)]
    dash = dashes[0] if is_alone and marker in along and dashes else None
    named = [column for column in named if column != dash]
    told = tuple(column for column in varying if column not in swept and "fingerprint" not in column)
    return Roles(color, marker, dash, tuple(named), usual, told)


def _like(roles: Roles, other: Roles, points: Sequence[Point]) -> Roles:
    """Roles that also show, with the colour and the marker that their points do not need, what another panel's do."""
    used = (*roles.on_one_line, roles.marker)
    free = [
        column if column not in used and any(point.get(column) is not None for point in points) else None
        for column in (other.color, other.marker)
    ]
    return dataclasses.replace(roles, color=roles.color or free[0], marker=roles.marker or free[1])


class Styles:
    """The colours, markers and dashes of all panels of a figure: one value looks the same wherever it occurs."""

    def __init__(self, panels: Sequence[Sequence[Point]]):
        everything = [point for panel in panels for point in panel]
        self.models = list(by_model(everything))
        self._roles = [
            {model: assign(own, len(self.models) == 1) for model, own in by_model(panel).items()} for panel in panels
        ]
        for (i, panel), beside in itertools.product(enumerate(self._roles), tuple(self._roles)):
            for model in panel.keys() & beside.keys():
                panel[model] = _like(panel[model], beside[model], by_model(panels[i])[model])
        self.words = Words(everything)
        self.dashes = {
            column: dict(zip(found, itertools.cycle(_DASHES), strict=False))
            for column, found in (("model", self.models), *self._shown(panels, "dash"))
        }
        self.colors: dict[str, dict[Any, Any]] = {}
        self.markers: dict[str, dict[Any, str]] = {}
        palette, scales, num_plain = itertools.cycle(COLORS), itertools.cycle(_SCALES), 0
        for column, found in self._shown(panels, "color"):
            if _are_numbers(found):
                shades = _shades(*next(scales), len(found) - (None in found))
                self.colors[column] = dict(itertools.zip_longest(found, shades, fillvalue=_UNSET))
            else:
                self.colors[column] = dict(zip(found, palette, strict=False))
                num_plain += len(found)
        free_markers = list(MARKERS)
        for column, found in self._shown(panels, "marker"):
            if len(found) > MOST:
                self.markers[column] = dict.fromkeys(found, "o")
                continue
            if len(found) > len(free_markers):
                free_markers = list(MARKERS)
            self.markers[column] = {value: free_markers.pop(0) for value in found}
        self._model_colors = {
            model: next(palette)
            for model in self.models
            if any(model in panel and not panel[model].color for panel in self._roles)
        }
        self._has_model_colors = num_plain + len(self._model_colors) <= len(COLORS)

    def _shown(self, panels: Sequence[Sequence[Point]], role: str) -> Iterator[tuple[str, list]]:
        """The settings that have a role, with the values of those networks' points where they have it."""
        pairs = [(getattr(self.roles(i, p.get("model")), role), p) for i, panel in enumerate(panels) for p in panel]
        for column, own in grouped(pairs, lambda pair: pair[0]).items():
            if column:
                yield column, ordered([point for _, point in own], column)

    def roles(self, panel: int, model: str) -> Roles:
        return self._roles[panel].get(model, Roles())

    def all_roles(self) -> Iterator[Roles]:
        """Of every network of every panel."""
        return itertools.chain.from_iterable(panel.values() for panel in self._roles)

    def color(self, panel: int, point: Point):
        column = self.roles(panel, point.get("model")).color
        return self.colors[column][point.get(column)] if column else self._model_colors[point.get("model")]

    def marker(self, panel: int, point: Point) -> str:
        column = self.roles(panel, point.get("model")).marker
        return self.markers[column][point.get(column)] if column else "o"

    def dash(self, panel: int, point: Point):
        column = self.roles(panel, point.get("model")).dash or "model"
        return self.dashes[column][point.get(column)]

    def rank(self, panel: int, point: Point) -> tuple[int, ...]:
        """The places of a point's colour, dash and marker among those that there are."""
        roles = self.roles(panel, point.get("model"))
        styles = ((roles.color, self.colors), (roles.dash, self.dashes), (roles.marker, self.markers))
        return tuple(list(found[column]).index(point.get(column)) for column, found in styles if column)

    def is_spelled(self, column: str | None) -> bool:
        """Whether a marker's values are too many to look different, and so are written beside their points."""
        return column is not None and len(self.markers[column]) > MOST

    def is_scale(self, column: str | None) -> bool:
        """Whether a colour's values are too many for a legend."""
        return column is not None and len(self.colors[column]) > MOST

    def alike(self) -> list[str]:
        """The settings of so many values that neighbours have colours which nobody tells apart."""
        return [column for column, shades in self.colors.items() if len(shades) > _MOST_SHADES]

    def lines(self, panel: int, points: Sequence[Point], field: str) -> Iterator[list[Point]]:
        """Points that are joined, from the lowest cost up, and those that stand alone."""
        for model, own in by_model(points).items():
            roles = self.roles(panel, model)
            for line in grouped(own, lambda point, roles=roles: values(point, roles.on_one_line)).values():
                if is_joined(line, roles.marker, field):
                    yield sorted(line, key=lambda point: (point.get(field), point.mean))
                else:
                    yield from ([point] for point in line)

    def written(self, panel: int, line: Sequence[Point]) -> list[str]:
        """The settings that must be written beside a line, or a single point, as neither its colour nor its dash says
        them."""
        model = line[0].get("model")
        roles = self.roles(panel, model)
        found = [*roles.named, *(column for column, usual in roles.usual.items() if line[0].get(column) != usual)]
        if roles.dash and len(line) == 1:
            found.insert(0, roles.dash)
        if len(self.models) > 1 and not self._has_color(panel, model) and not (len(line) > 1 and self._has_dashes):
            found.insert(0, "model")
        return found

    def text(self, panel: int, line: Sequence[Point]) -> str:
        """`written`, in words."""
        say = {"model": self.words.value}
        columns = self.written(panel, line)
        return ", ".join(say.get(column, self.words.setting)(column, line[0].get(column)) for column in columns)

    @property
    def _has_dashes(self) -> bool:
        return len(self.models) <= len(_DASHES)

    def _has_color(self, panel: int, model: str) -> bool:
        """Whether a network's colour is its own."""
        return self._has_model_colors and not self.roles(panel, model).color

    def handles(self, panel: int, points: Sequence[Point]) -> list[Line2D]:
        """The legend of what occurs in a panel."""
        found = []
        for model in by_model(points) if len(self.models) > 1 else ():
            if self._has_dashes or self._has_color(panel, model):
                color = "0.3" if self.roles(panel, model).color else self._model_colors[model]
                dash = self.dashes["model"][model]
                found.append(_entry(self.words.value("model", model), color=color, linestyle=dash))
        for column, value, color in self._present(panel, points, self.colors, "color"):
            if not self.is_scale(column):
                found.append(_entry(self.words.setting(column, value), color=color))
        for column, value, dash in self._present(panel, points, self.dashes, "dash"):
            found.append(_entry(self.words.setting(column, value), color="0.3", linestyle=dash))
        for column, value, marker in self._present(panel, points, self.markers, "marker"):
            if not self.is_spelled(column):
                found.append(_entry(self.words.setting(column, value), color="0.3", marker=marker, linestyle=""))
        return found

    def _present(self, panel: int, points: Sequence[Point], styles: dict[str, dict], role: str) -> Iterator[tuple]:
        for column, style in styles.items():
            own = [point for point in points if getattr(self.roles(panel, point.get("model")), role) == column]
            present = set(ordered(own, column))
            yield from ((column, value, look) for value, look in style.items() if value in present)


def _entry(text: str, **look) -> Line2D:
    """An entry of a legend, which matplotlib would leave out where it began with "_"."""
    return Line2D([], [], label=folded(f" {text}" if text.startswith("_") else text), **look)


def by_model(points: Sequence[Point]) -> dict[str, list[Point]]:
    return grouped(points, lambda point: point.get("model"))


def ordered(points: Sequence[Point], column: str) -> list:
    """The values of a column: numbers from the largest on, anything else as it comes; None last."""
    found = dict.fromkeys(point.get(column) for point in points)
    present = [value for value in found if value is not None]
    if all(map(is_number, present)):
        present.sort(reverse=True)
    return [*present, *([None] if None in found else [])]


def is_joined(points: Sequence[Point], along: str | None, field: str) -> bool:
    """Whether points are steps of a number that changes the cost."""
    return len({point.get(field) for point in points}) > 1 and all(is_number(point.get(along)) for point in points)


def is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and not math.isnan(value)


def _are_numbers(found: Iterable) -> bool:
    """Whether all values are numbers, or None."""
    return all(is_number(value) for value in found if value is not None)


def _is_numeric(points: Sequence[Point], column: str) -> bool:
    return _are_numbers(point.get(column) for point in points)


def _has_colors(points: Sequence[Point], column: str) -> bool:
    return _is_numeric(points, column) or len(ordered(points, column)) <= MOST


def _usual(points: Sequence[Point], column: str) -> Any:
    if _is_options(points, column):
        return None
    return collections.Counter(point.get(column) for point in points).most_common(1)[0][0]


def _is_options(points: Sequence[Point], column: str) -> bool:
    """Whether this is, in a table of an earlier version, all that single points have beside a plain network."""
    return column == "options" and any(point.get(column) is None for point in points)


def _departs(points: Sequence[Point], column: str) -> bool:
    """Whether many points share a value and every other value occurs once."""
    counts = [count for _, count in collections.Counter(point.get(column) for point in points).most_common()]
    return counts[0] > max(1, len(points) / 3) and counts[1] == 1


def _changes_cost(points: Sequence[Point], swept: Sequence[str], column: str) -> bool:
    """Whether networks that differ in nothing but a number differ in their costs."""
    if not _is_numeric(points, column):
        return False
    others = [other for other in swept if other != column]
    return any(
        len({values(point, ("mult_adds", "params")) for point in same}) > 1
        for same in grouped(points, lambda point: values(point, others)).values()
    )


def _shades(name: str, first: float, last: float, count: int) -> list:
    scale = matplotlib.colormaps[name]
    return [scale(first + (last - first) * i / max(1, count - 1)) for i in range(count)]
