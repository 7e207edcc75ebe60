"""Rows to points: means over replicates with their standard errors, and the settings in which points differ."""

import dataclasses
import statistics
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import Any

from mnet_jax.config.tasks import SCORES, Score, scores_of
from mnet_jax.report.errorbars import binomial, pooled_sd, standard_error
from mnet_jax.workdir.deployment import is_measured
from mnet_jax.workdir.results import COLUMNS, SEEDS, Row, column_of

_SETTINGS = ("model", "alpha", "input_size", "dataset", "epochs")  # of the columns that every table has
_NO_SETTINGS = ("replicate", "chosen")  # what says how settings belong together
_LAST = (
    "train.init_from",
    "data.fingerprint",
    "train.init_fingerprint",
    "model.fingerprint",
)  # where nothing else tells

_BY_COLUMN = {score.column: score for scores in SCORES.values() for score in scores}


@dataclasses.dataclass(frozen=True)
class Point:
    """Replicates.

    Attributes:
      row: of the first of them.
      mean: of the first score of their task, a fraction.
      error: its standard error, a fraction; 0 where it is not known.
      error_of: `errorbars.SEEDS` or `errorbars.IMAGES`, or None.
    """

    row: Row
    mean: float
    error: float
    error_of: str | None

    def get(self, column: str) -> Any:
        return self.row.get(column)


def replicates(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that differ in nothing but a seed, together.

    Tables of earlier versions have no column `replicate`: all their settings must agree.
    """
    old = (*settings_columns(rows), "test_images")
    groups = grouped(rows, lambda row: (row.get("replicate"), *(() if row.get("replicate") else values(row, old))))
    return list(groups.values())


def points(rows: Sequence[Row]) -> list[Point]:
    """The means of finished rows, in the order of the table; see `with_errors`."""
    return [
        Point(same[0], statistics.mean(map(reached, same)), error or 0.0, source)
        for same, error, source in with_errors(rows)
    ]


def reached(row: Row) -> float | None:
    """The first score of a row's task."""
    return row.get(scores_of(row)[0].column)


def of_images(row: Row, score: Score | None = None) -> float | None:
    """The standard error of a trial's score, by default the first, over its test images; None where it is not known."""
    score = score or scores_of(row)[0]
    if row.get(score.column) is None:
        return None
    return binomial(row[score.column], row["test_images"]) if score.is_share else row.get(score.error)


def with_errors(rows: Sequence[Row], score: str | None = None) -> list[tuple[list[Row], float | None, str | None]]:
    """Finished rows that differ in nothing but a seed, the standard error of their mean score, and what it is of.

    The standard deviation over seeds is pooled over what was trained with one network on one data set.

    Args:
      rows: that have the score.
      score: column of it, by default of the first of a row's task; of the "loss" one seed alone has no error.
    """
    groups = replicates(rows)
    alike = grouped(groups, lambda same: values(same[0], ("task", "model", "dataset", "test_images")))
    found = {}
    for own in alike.values():
        column = score or scores_of(own[0][0])[0].column
        of_groups = [[row[column] for row in same] for same in own]
        sd = pooled_sd(of_groups)
        for same, of_seeds in zip(own, of_groups, strict=True):
            is_alone = len(same) == 1 and column in _BY_COLUMN
            alone = of_images(same[0], _BY_COLUMN[column]) if is_alone else None
            found[id(same)] = (same, *standard_error(of_seeds, sd, alone))
    return [found[id(same)] for same in groups]


def settings_columns(rows: Sequence[Row]) -> list[str]:
    """The columns that are neither a name, nor measured, nor a seed; those that were tuned or of files come last."""
    known = (*COLUMNS, *SEEDS, *_NO_SETTINGS, *_BY_COLUMN, *(score.error for score in _BY_COLUMN.values()))
    beside = dict.fromkeys(key for row in rows for key in row if key not in known and not is_measured(key))
    tuned = {column for row in rows for column in chosen_columns(row)}
    return sorted((*_SETTINGS, *beside), key=lambda column: (column in _LAST, column in tuned))


def chosen_columns(row: Row) -> set[str]:
    """The columns whose values were chosen per cell by tuning."""
    return {column_of(key.strip()) for key in (row.get("chosen") or "").split(",") if key.strip()}


def in_force(rows: Sequence[Row]) -> list[Row]:
    """Without the rows at values in whose place tuning has chosen others, as it does when more are tried."""
    columns = settings_columns(rows)
    chosen = {(tuned := frozenset(chosen_columns(row)), _beside(row, columns, tuned)) for row in rows}
    sets = {tuned for tuned, _ in chosen if tuned}
    return [
        row
        for row in rows
        if chosen_columns(row) or not any((tuned, _beside(row, columns, tuned)) in chosen for tuned in sets)
    ]


def _beside(row: Row, columns: Sequence[str], tuned: Collection[str]) -> tuple:
    return values(row, [column for column in columns if column not in tuned])


def differing(rows: Iterable[Row | Point], columns: Iterable[str]) -> list[str]:
    """The columns with more than one value."""
    rows = list(rows)
    return [column for column in columns if len({values(row, (column,)) for row in rows}) > 1]


def separating(rows: Iterable[Row | Point], columns: Iterable[str]) -> list[str]:
    """The columns, first come first, each of which tells rows apart that those before it leave together."""
    rows = list(rows)
    chosen: list[str] = []
    count = 1
    for column in columns:
        finer = len({values(row, (*chosen, column)) for row in rows})
        if finer > count:
            chosen.append(column)
            count = finer
    return chosen


def values(row: Row | Point, columns: Iterable[str]) -> tuple:
    """What a row has in some columns, as a key."""
    return tuple(row.get(column) for column in columns)


def grouped(items: Iterable, key: Callable[[Any], Hashable]) -> dict[Hashable, list]:
    """Items by key, in their order."""
    groups: dict[Hashable, list] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups
