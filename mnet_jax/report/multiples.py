"""Small multiples: panels in place of more words than a reader can take in."""

import collections
from collections.abc import Iterator, Sequence

from mnet_jax.report.points import Point, grouped, values
from mnet_jax.report.styles import Styles, ordered

_MOST_WORDS = 12  # lines of a panel that are told apart by words
_MOST_PANELS = 12

Panels = list[tuple[str, list[Point]]]  # what the points of each share, in words, and the points


def multiples(points: Sequence[Point], field: str) -> Iterator[Panels]:
    """Ever more panels, over a cost, for whom the ones before have no room for their words; the last cannot be split.

    The first is one panel of all points, unless more than `_MOST_WORDS` would be written in it. What splits a panel is
    a setting that is written there, into one panel for each of its values.
    """
    split: list[str] = []
    while True:
        places = {column: ordered(points, column) for column in split}
        found = grouped(points, lambda point: values(point, split))
        found = dict(
            sorted(found.items(), key=lambda item: [places[c].index(v) for c, v in zip(split, item[0], strict=True)])
        )
        styles = Styles(list(found.values()))
        written = [list(_written(styles, i, own, field)) for i, own in enumerate(found.values())]
        lines = collections.Counter(column for line in max(written, key=len) for column in line)
        splits = {
            column: count
            for column, count in lines.items()
            if column not in split and len({values(point, (*split, column)) for point in points}) <= _MOST_PANELS
        }
        if not splits or max(map(len, written)) <= _MOST_WORDS:
            yield [(_title(styles, split, key), own) for key, own in found.items()]
        if not splits:
            return
        split.append(max(splits, key=splits.get))


def _written(styles: Styles, panel: int, points: Sequence[Point], field: str) -> Iterator[list[str]]:
    """The settings that are written beside each line, without those in which single points depart from the others."""
    for line in styles.lines(panel, points, field):
        if written := styles.written(panel, line):
            usual = styles.roles(panel, line[0].get("model")).usual
            yield [column for column in written if column not in usual]


def _title(styles: Styles, split: Sequence[str], key: Sequence) -> str:
    return ", ".join(styles.words.setting(column, value) for column, value in zip(split, key, strict=True))
