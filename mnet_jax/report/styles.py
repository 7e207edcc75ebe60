"""How points are told apart: which setting is a colour, which a marker, which is written beside the line.

Every network is looked at alone, as networks have different options: a setting that one of them has not, or that does
not vary among its points, takes no part there.
"""

import collections
import dataclasses
import itertools
import math
import numbers
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
from matplotlib.lines import Line2D

from mnet_jax.report.points import Point, differing, grouped, in_words, names, separating, settings_columns, values

MOST = 8  # styles of one kind that can be told apart
_MOST_WORDS = 12  # lines of a panel that are told apart by words

_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#8C510A")  # Okabe and Ito
_SCALES = (("viridis", 0.0, 0.84), ("YlOrRd", 1.0, 0.45), ("PuRd", 1.0, 0.45))  # from the largest value to the smallest
_MARKERS = "osD^vP*X<>ph"
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
    settings take their places: along the line goes one that changes the cost. A setting in which single points depart
    from all others, as in an ablation, is written at those.
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
        marker = "alpha" if "alpha" in along else max(along, key=lambda column: len(_values(points, column)))
    elif "alpha" in free:
        marker = "alpha"
    colors = [column for column in free if column != marker and _has_colors(points, column)]
    if colors:
        color = "input_size" if "input_size" in colors else colors[0]
    if marker is None:
        others = [column for column in free if column != color]
        marker = max(others, key=lambda column: _is_numeric(points, column), default=None)
        if marker and not _is_numeric(points, marker) and len(_values(points, marker)) > MOST:
            marker = None
    named = [column for column in free if column not in (color, marker)]
    dashes = [column for column in named if len(_values(points, column)) <= len(_DASHES)]
    dash = dashes[0] if is_alone and marker in along and dashes else None
    named = [column for column in named if column != dash]
    told = tuple(column for column in varying if column not in swept and "fingerprint" not in column)
    return Roles(color, marker, dash, tuple(named), usual, told)


def multiples(points: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    """A panel of all points; or, where more lines than can be read would need words, one for each value of a setting.

    Each with what its points share.
    """
    lines: collections.Counter = collections.Counter()
    for own in _by_model(points).values():
        roles = assign(own, len(_by_model(points)) == 1)
        if roles.named:
            lines[roles.named[0]] += len({values(point, roles.on_one_line) for point in own})
    if lines.total() <= _MOST_WORDS:
        return [("", list(points))]
    column = lines.most_common(1)[0][0]
    name = names(settings_columns([point.row for point in points]))[column]
    found = _values(points, column)
    if len(found) > MOST:
        return [("", list(points))]
    return [(in_words(name, value), [p for p in points if p.get(column) == value]) for value in found]


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
        self.models = list(_by_model(everything))
        self._roles = [
            {model: assign(own, len(self.models) == 1) for model, own in _by_model(panel).items()} for panel in panels
        ]
        for (i, panel), beside in itertools.product(enumerate(self._roles), tuple(self._roles)):
            for model in panel.keys() & beside.keys():
                panel[model] = _like(panel[model], beside[model], _by_model(panels[i])[model])
        self.names = names(settings_columns([point.row for point in everything]))
        self.dashes = {
            column: dict(zip(_values(everything, column), itertools.cycle(_DASHES), strict=False))
            for column in ("model", *(roles.dash for roles in self.all_roles() if roles.dash))
        }
        self.colors: dict[str, dict[Any, Any]] = {}
        self.markers: dict[str, dict[Any, str]] = {}
        palette, scales = itertools.cycle(_COLORS), itertools.cycle(_SCALES)
        free_markers = list(_MARKERS)
        for roles in self.all_roles():
            if roles.color and roles.color not in self.colors:
                found = _values(everything, roles.color)
                is_scale = len(found) > 3 and _is_numeric(everything, roles.color)
                samples = _samples(*next(scales), len(found)) if is_scale else itertools.islice(palette, len(found))
                self.colors[roles.color] = dict(zip(found, samples, strict=True))
            if roles.marker and roles.marker not in self.markers:
                found = _values(everything, roles.marker)
                if len(found) > MOST:
                    self.markers[roles.marker] = dict.fromkeys(found, "o")
                    continue
                if len(found) > len(free_markers):
                    free_markers = list(_MARKERS)
                self.markers[roles.marker] = {value: free_markers.pop(0) for value in found}
        self._model_colors = {
            model: next(palette)
            for model in self.models
            if any(model in panel and not panel[model].color for panel in self._roles)
        }

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

    def is_spelled(self, column: str | None) -> bool:
        """Whether a marker's values are too many to look different, and so are written beside their points."""
        return column is not None and len(self.markers[column]) > MOST

    def is_scale(self, column: str | None) -> bool:
        """Whether a colour's values are too many for a legend."""
        return column is not None and len(self.colors[column]) > MOST

    def text(self, panel: int, line: Sequence[Point]) -> str:
        """What must be written beside a line, or a single point, as neither its colour nor its dash says it."""
        model = line[0].get("model")
        roles = self.roles(panel, model)
        named = (roles.dash, *roles.named) if roles.dash and len(line) == 1 else roles.named
        parts = [in_words(self.names[column], line[0].get(column)) for column in named]
        parts += [
            in_words(self.names[column], line[0].get(column))
            for column, usual in roles.usual.items()
            if line[0].get(column) != usual
        ]
        has_color = not roles.color and len(self._model_colors) <= len(_COLORS)
        has_dash = len(line) > 1 and len(self.models) <= len(_DASHES)
        if len(self.models) > 1 and not has_color and not has_dash:
            parts.insert(0, model_name(model))
        return ", ".join(parts)

    def handles(self, panel: int, points: Sequence[Point]) -> list[Line2D]:
        """The legend of what occurs in a panel."""
        found = []
        if len(self.models) > 1:
            for model in _by_model(points):
                color = "0.3" if self.roles(panel, model).color else self._model_colors[model]
                found.append(
                    Line2D([], [], color=color, linestyle=self.dashes["model"][model], label=model_name(model))
                )
        for column, value, color in self._present(panel, points, self.colors, "color"):
            if not self.is_scale(column):
                found.append(Line2D([], [], color=color, label=in_words(self.names[column], value)))
        for column, value, dash in self._present(panel, points, self.dashes, "dash"):
            found.append(Line2D([], [], color="0.3", linestyle=dash, label=in_words(self.names[column], value)))
        for column, value, marker in self._present(panel, points, self.markers, "marker"):
            if not self.is_spelled(column):
                label = in_words(self.names[column], value)
                found.append(Line2D([], [], color="0.3", marker=marker, linestyle="", label=label))
        return found

    def _present(self, panel: int, points: Sequence[Point], styles: dict[str, dict], role: str) -> Iterator[tuple]:
        for column, style in styles.items():
            own = [point for point in points if getattr(self.roles(panel, point.get("model")), role) == column]
            present = set(_values(own, column))
            yield from ((column, value, look) for value, look in style.items() if value in present)


def model_name(model: str) -> str:
    """A network's name, or the class of one of the user's own."""
    return model.rpartition(":")[2]


def _by_model(points: Sequence[Point]) -> dict[str, list[Point]]:
    return grouped(points, lambda point: point.get("model"))


def _values(points: Sequence[Point], column: str) -> list:
    """Numbers from the largest on, anything else as it comes; None last."""
    found = dict.fromkeys(point.get(column) for point in points)
    numeric = all(value is None or is_number(value) for value in found)
    ordered = sorted((value for value in found if value is not None), reverse=True) if numeric else list(found)
    return [*(value for value in ordered if value is not None), *([None] if None in found else [])]


def is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and not math.isnan(value)


def _is_numeric(points: Sequence[Point], column: str) -> bool:
    return all(is_number(value) for value in _values(points, column) if value is not None)


def _has_colors(points: Sequence[Point], column: str) -> bool:
    return _is_numeric(points, column) or len(_values(points, column)) <= MOST


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


def _samples(name: str, first: float, last: float, count: int) -> list:
    scale = matplotlib.colormaps[name]
    return [scale(first + (last - first) * i / (count - 1)) for i in range(count)]
