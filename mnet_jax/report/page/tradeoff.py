"""The trade-off chart's data: cells with their means and errors, how they look, the law, and the papers' curves."""

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from mnet_jax.config.tasks import scores_in
from mnet_jax.report import published
from mnet_jax.report.curves import Curve, Curves
from mnet_jax.report.findings import Finding
from mnet_jax.report.page import look
from mnet_jax.report.points import Point, differing, in_force, reached, separating, settings_columns, with_errors
from mnet_jax.report.styles import Styles, is_number
from mnet_jax.report.words import Words
from mnet_jax.workdir.files import DONE
from mnet_jax.workdir.results import COLUMNS, Row

INT8 = "top1_int8"  # column of an exported twin

_COSTS = {
    "mult_adds": "Mult-Adds per image",
    "params": "trainable parameters",
    r"latency_ms_(\w+)": r"latency in ms, \1",
    "peak_activation_bytes": "peak activations in bytes",
    "bytes_(float32|int8)": r"size in bytes, \1",
}
_MEASURED = re.compile(r"latency_ms_\w+|\w+_bytes|bytes_\w+|\w+_int8")  # no settings, whatever else they are

_Json = dict[str, Any]


def costs(rows: Sequence[Row]) -> dict[str, str]:
    """The columns that a score may be drawn against, those that have numbers, with their names."""
    found = {}
    for column in dict.fromkeys(key for row in rows for key in row):
        for pattern, name in _COSTS.items():
            if re.fullmatch(pattern, column) and any(is_number(row.get(column)) for row in rows):
                found[column] = re.sub(pattern, name, column).replace("_", " ")
    return found


def settings(rows: Sequence[Row]) -> list[str]:
    """The columns in which rows differ that say how they were trained; those of damaged trials say nothing."""
    known = [row for row in rows if row["model"]]
    return [column for column in differing(known, settings_columns(known)) if not _MEASURED.fullmatch(column)]


def trade_off(rows: Sequence[Row], findings: Sequence[Finding]) -> _Json:
    """What the chart draws of a table: {"cells", "laws", "papers", "legend", "notes"}, as the functions below say."""
    done = [row for row in rows if row["status"] == DONE]
    known = [row for row in done if is_number(reached(row)) and math.isfinite(reached(row))]
    kept = in_force(known)
    found: _Json = {"cells": [], "laws": [], "papers": [], "legend": []}
    if kept:
        cells = _Cells(rows, kept)
        unbeaten = {name for finding in findings for cell in finding.front for name in cell.trials}
        found["cells"] = [cells.as_json(point) | {"unbeaten": point.get("trial") in unbeaten} for point in cells.points]
        curves = Curves(findings)
        for number, line in cells.lines.items():
            if curve := curves.through(line):
                found["laws"].append(_law(curve, number, cells.styles, line[0]))
        found |= {"papers": _papers(kept), "legend": _legend(cells.styles, cells.points)}
    return found | {"notes": _notes(len(done) - len(known), len(known) - len(kept), found["laws"])}


class _Cells:
    """Rows that differ in nothing but their seeds, together.

    Attributes:
      points: one for each cell.
      styles: how they look.
      lines: those that are joined, by number.
    """

    def __init__(self, rows: Sequence[Row], kept: Sequence[Row]):
        plain = [_plain(row) for row in kept]
        place = {id(row): i for i, row in enumerate(rows)}
        self._kept = {id(one): (place[id(row)], row) for one, row in zip(plain, kept, strict=True)}
        groups = with_errors(plain)
        self._groups = {id(same[0]): same for same, *_ in groups}
        columns = [*(score.column for score in scores_in(kept)), "loss"]
        self._scores = {column: _scored(self._groups.values(), column) for column in columns}
        self.points = [
            Point(same[0], statistics.mean(map(reached, same)), error or 0.0, source) for same, error, source in groups
        ]
        self._settings, self._costs = settings(plain), list(costs(kept))
        self._telling = separating(plain, self._settings)
        self.styles = Styles([self.points])
        joined = self.styles.lines(0, [point for point in self.points if point.get("mult_adds")], "mult_adds")
        self.lines = {number: line for number, line in enumerate(joined) if len(line) > 1}
        self._line_of = {id(point): number for number, line in self.lines.items() for point in line}

    def as_json(self, point: Point) -> _Json:
        """{"said", "trials", "settings", "x", "y", "int8", "group", "color", "dark", "shape", "dash", "line"}.

        "said" tells the cell from the others in words; "x" has the mean of each cost, "y" of each score its mean, its
        standard error and what that is of; cells of one "group" may be compared.
        """
        first, words = point.row, self.styles.words
        places, own = zip(*(self._kept[id(row)] for row in self._groups[id(first)]), strict=True)
        said = [words.setting(column, first[column]) for column in self._telling if first.get(column) is not None]
        means = {column: _mean(own, column) for column in self._costs}
        return {
            "said": ", ".join(said) or words.value("model", point.get("model")),
            "trials": places,
            "settings": {column: first.get(column) for column in self._settings},
            "x": {column: mean for column, mean in means.items() if mean is not None and mean > 0},
            "y": {score: found[id(first)] for score, found in self._scores.items() if id(first) in found},
            "int8": _mean(own, INT8),
            "group": f"{point.get('dataset')}, {point.get('test_images')}",
            "shape": look.shape(self.styles.marker(0, point)),
            "dash": look.dash(self.styles.dash(0, point)),
            "line": self._line_of.get(id(point)),
            **_ink(self.styles.color(0, point)),
        }


def _plain(row: Row) -> Row:
    """Without what was measured of a network afterwards, which tells no points apart."""
    return {key: value for key, value in row.items() if key in COLUMNS or not _MEASURED.fullmatch(key)}


def _scored(groups: Iterable[Sequence[Row]], score: str) -> dict[int, list]:
    """[mean, standard error, what that is of] of cells all of whose seeds have a score, by their first rows."""
    known = [same for same in groups if all(is_number(row.get(score)) and math.isfinite(row[score]) for row in same)]
    found = with_errors([row for same in known for row in same], score)
    return {id(same[0]): [statistics.mean(row[score] for row in same), *error] for same, *error in found}


def _mean(rows: Sequence[Row], column: str) -> float | None:
    found = [row.get(column) for row in rows if is_number(row.get(column)) and math.isfinite(row[column])]
    return statistics.mean(found) if found else None


def _law(curve: Curve, line: int, styles: Styles, point: Point) -> _Json:
    """{"line", "score", "form", "misses", "of", "dash", "at", ...}: "at" has Mult-Adds, score, and band."""
    low, high = (curve.scores, curve.scores) if curve.band is None else curve.band
    at = zip(curve.costs, curve.scores, low, high, strict=True)
    return {
        "line": line,
        "score": curve.law.family.score.column,
        "form": curve.fit.name,
        "misses": curve.fit.loo_mean,
        "of": curve.law.source if curve.band is not None else None,
        "dash": look.dash(styles.dash(0, point)),
        "at": [[round(float(cost)), *(round(float(score), 5) for score in rest)] for cost, *rest in at],
        **_ink(styles.color(0, point)),
    }


def _papers(rows: Sequence[Row]) -> list[_Json]:
    """The published cells of the networks, but not beside themselves: {"said", "line", "mult_adds", "params", ...}."""
    if all(str(row["dataset"]).startswith("ImageNet, published") for row in rows):
        return []
    found = published.cells({row["model"] for row in rows})
    words = Words([Point(row, row["top1"], 0.0, None) for row in found])
    return [
        {column: row[column] for column in ("mult_adds", "params", "top1", "top5")}
        | {"line": f"{row['model']} at {row['input_size']}"}
        | {"said": ", ".join(words.setting(column, row[column]) for column in ("model", "alpha", "input_size"))}
        for row in found
    ]


def _legend(styles: Styles, points: Sequence[Point]) -> list[_Json]:
    """{"said", "color", "dark", "shape", "dash"}, a shape or a dash; and, of scales of colour, {"said", "shades"}."""
    dashes = {
        words: look.dash(dash)
        for column, found in styles.dashes.items()
        for value, dash in found.items()
        for words in (styles.words.setting(column, value), styles.words.value(column, value))
    }
    found: list[_Json] = []
    for handle in styles.handles(0, points):
        said = " ".join(handle.get_label().split())
        is_marker = handle.get_linestyle() == "None"
        shape, dash = (look.shape(handle.get_marker()), None) if is_marker else (None, dashes.get(said, []))
        found.append({"said": said, "shape": shape, "dash": dash, **_ink(handle.get_color())})
    for column in dict.fromkeys(roles.color for roles in styles.all_roles()):
        if styles.is_scale(column):
            shades = [_ink(ink) | {"said": styles.words.value(column, v)} for v, ink in styles.colors[column].items()]
            found.append({"said": styles.words.names[column], "shades": shades})
    return found


def _ink(found: Any) -> dict[str, str]:
    return {"color": look.color(found), "dark": look.on_dark(found)}


def _notes(num_unknown: int, num_given_up: int, laws: Sequence[_Json]) -> list[str]:
    """What is not drawn, and of what the law's curves are."""
    left_out = {"of unknown score": num_unknown, "at values that tuning gave up": num_given_up}
    notes = [f"Not drawn: {n} trial{'s' * (n > 1)} {why}." for why, n in left_out.items() if n]
    forms = dict.fromkeys(f"{law['form']} (misses cells left out by {100 * law['misses']:.2f} points)" for law in laws)
    if forms:
        notes.append(f"The law: {', '.join(forms)}; between cells, costs are interpolated.")
    notes += [f"Its bands: 95%, of {source}." for source in dict.fromkeys(law["of"] for law in laws) if source]
    return notes
