"""The table of a sweep for people: a line per trial, and means over trials that differ in nothing but a seed."""

import io
import statistics
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mnet_jax.config.tasks import SCORES, scores_in
from mnet_jax.report.points import differing, of_images, reached, settings_columns, with_errors
from mnet_jax.workdir.files import DONE
from mnet_jax.workdir.results import Row

FRACTIONS = ("loss", "se", *(score.column for scores in SCORES.values() for score in scores))
_BEFORE, _AFTER = ("trial", "mult_adds", "params"), ("images_per_second", "wall_seconds", "status")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> str:
    """Columns padded to equal width, numbers to the right, two blanks between; never cut or wrapped."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for name, is_number in zip(header, numeric, strict=True):
        grid.add_column(Text(name), justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*map(Text, row))
    text = io.StringIO()
    width = sum(max(2 * len(cell) for cell in column) + 2 for column in zip(header, *rows, strict=True))
    Console(file=text, width=width, color_system=None, force_terminal=False, legacy_windows=False).print(grid)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def scores_of_table(rows: Sequence[Row]) -> tuple[str, ...]:
    """The columns of the scores, the standard error of the first beside it, and the loss."""
    first, *others = (score.column for score in scores_in(rows))
    return (first, "se", *others, "loss")


def as_table(rows: Sequence[Row], columns: Sequence[str] | None = None) -> str:
    """The rows as aligned text; "se" is the standard error of a trial's first score, of the test images alone."""
    columns = columns or (*_BEFORE, *scores_of_table(rows), *_AFTER)
    numeric = [column not in ("trial", "status") for column in columns]
    rows = [row | {"se": of_images(row)} for row in rows]
    return table(columns, [[_cell(column, row.get(column)) for column in columns] for row in rows], numeric)


def as_summary(rows: Sequence[Row]) -> str:
    """Means over trials that differ in nothing but a seed, as aligned text; "" where there are no such trials.

    "sd" is the standard deviation of the first score among them, with n - 1 in the denominator, "se" the standard error
    of their mean, from the sd of all lines together; of one trial that of the test images.
    """
    done = [row for row in rows if row["status"] == DONE]
    groups = with_errors(done)
    if all(len(same) == 1 for same, *_ in groups):
        return ""
    swept = differing(done, settings_columns(done))
    first, *others = scores_of_table(done)
    columns = (*swept, "mult_adds", "params", "n", first, "sd", *others)
    lines = []
    for same, error, _ in groups:
        means = {name: mean([row.get(name) for row in same]) for name in (first, *others) if name != "se"}
        sd = f"{statistics.stdev(map(reached, same)):.4f}" if len(same) > 1 else None
        line = same[0] | means | {"n": len(same), "sd": sd, "se": error}
        lines.append([_cell(column, line.get(column)) for column in columns])
    words = {column for column in swept for row in done if isinstance(row.get(column), str)}
    return table(columns, lines, [column not in words for column in columns])


def mean(values: Sequence[float | None]) -> float | None:
    """Of values that are all known; else None."""
    return None if None in values else statistics.mean(values)


def _cell(column: str, value) -> str:
    if value is None:
        return "-"
    if column in FRACTIONS:
        return f"{value:.4f}"
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if is_count else str(value)
