"""What columns and their values are called on a plot: as short as they are clear, in letters that the font has."""

import collections
import functools
import itertools
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib import font_manager

from mnet_jax.report.points import Point, settings_columns

_CUTS = {"model": r"(?<=[/:])", "dataset": r"(?<=\.py:)"}  # after which a name may begin; elsewhere after a slash
_WIDEST = 60  # letters of a line in a legend or beside a point


class Words:
    """What is said of some points, which it must tell apart.

    Attributes:
      names: of their columns.
    """

    def __init__(self, points: Sequence[Point]):
        columns = settings_columns([point.row for point in points])
        self.names = names(columns)
        self._ends = {
            column: _ends(
                {p.get(column) for p in points if isinstance(p.get(column), str)}, _CUTS.get(column, "(?<=/)")
            )
            for column in columns
        }

    def value(self, column: str, value: Any) -> str:
        """A value as short as it can be said; of a path as much of its end as no other value has."""
        if value is None:
            return "unset"
        if isinstance(value, float):
            return f"{value:g}" if float(f"{value:g}") == value else repr(value)
        return writable(self._ends[column][value] if isinstance(value, str) else str(value))

    def setting(self, column: str, value: Any) -> str:
        """ "alpha 0.5", "residual False", "cache side unset"; the options of an earlier version's table say it all."""
        said = self.value(column, value)
        return said if column == "options" and value is not None else f"{self.names[column]} {said}"


def names(columns: Sequence[str]) -> dict[str, str]:
    """What columns are called on a plot: the last part of the key in plain words, the whole where that is unclear."""
    short = [column.rpartition(".")[2] for column in columns]
    clear = {
        column: column if short.count(part) > 1 or part == "name" else part
        for column, part in zip(columns, short, strict=True)
    }
    return {column: writable(text.replace("_", " ").replace(".", " ").strip()) for column, text in clear.items()}


def writable(text: str) -> str:
    """Text with escapes for what cannot be seen or is not in the font; quoted where one would not see its ends."""
    shown = text if text and text == text.strip() else repr(text)
    return "".join(
        letter if letter.isprintable() and ord(letter) in _letters() else letter.encode("unicode_escape").decode()
        for letter in shown
    )


def folded(text: str) -> str:
    """Text in lines that a legend has room for."""
    return textwrap.fill(text, _WIDEST)


def _ends(values: Iterable[str], cut: str) -> dict[str, str]:
    """Of each value the shortest end, from a cut on, that no other value has."""
    parts = {value: re.split(cut, value) for value in values}
    found: dict[str, str] = {}
    counts = itertools.count(1)
    while len(found) < len(parts):
        count = next(counts)
        ends = {value: "".join(own[-count:]) for value, own in parts.items()}
        times = collections.Counter(ends.values())
        found = {value: end for value, end in ends.items() if times[end] == 1} | found
    return found


@functools.cache
def _letters() -> frozenset[int]:
    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    return frozenset(font.get_charmap())
