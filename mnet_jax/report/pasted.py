"""The table of means in forms to paste: CSV, JSON, Markdown, LaTeX."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from mnet_jax.report.points import differing, settings_columns, with_errors
from mnet_jax.report.tables import FRACTIONS, mean, scores_of_table
from mnet_jax.workdir.files import DONE
from mnet_jax.workdir.results import Row

_IDENTITY = ("model", "alpha", "input_size")  # columns of every table, before those that were swept
_COSTS = ("mult_adds", "params", "n")
_MARKDOWN = str.maketrans({"|": r"\|", "\n": " "})
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\n": " "}
)


def means(rows: Sequence[Row]) -> list[Row]:
    """A row per set of done trials that differ in nothing but a seed.

    It has the network, alpha, input size and what else was swept, `mult_adds` and `params`, the number `n` of trials,
    the means of the scores and the loss, and the standard error `se` of that of the first, as in `tables.as_summary`.
    """
    done = [row for row in rows if row["status"] == DONE]
    scores = scores_of_table(done)
    columns = dict.fromkeys((*_IDENTITY, *differing(done, settings_columns(done)), *_COSTS, *scores))
    found = []
    for same, error, _ in with_errors(done):
        reached = {name: mean([row.get(name) for row in same]) for name in scores if name != "se"}
        reached |= {"n": len(same), "se": error}
        whole = same[0] | reached
        found.append({column: whole.get(column) for column in columns})
    return found


def as_csv(rows: Sequence[Row]) -> str:
    """Numbers in full, nothing for what is not known."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_header(rows))
    writer.writerows(["" if value is None else value for value in row.values()] for row in rows)
    return text.getvalue().removesuffix("\n")


def as_json(rows: Sequence[Row]) -> str:
    """A list of objects; numbers in full, null for what is not known."""
    return json.dumps(rows, indent=1)


def as_markdown(rows: Sequence[Row]) -> str:
    """A table of GitHub's, numbers to the right."""
    header = _header(rows)
    rule = ["---:" if is_number else "---" for is_number in _are_numbers(rows, header)]
    lines = [header, rule, *([_cell(*item) for item in row.items()] for row in rows)]
    return "\n".join(f"| {' | '.join(cell.translate(_MARKDOWN) for cell in line)} |" for line in lines)


def as_latex(rows: Sequence[Row]) -> str:
    """A tabular of the package booktabs, numbers to the right."""
    header = _header(rows)

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"

    return "\n".join(
        [
            rf"\begin{{tabular}}{{{''.join('r' if is_number else 'l' for is_number in _are_numbers(rows, header))}}}",
            r"\toprule",
            line(header),
            r"\midrule",
            *(line([_cell(*item) for item in row.items()]) for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


FORMS: dict[str, Callable[[Sequence[Row]], str]] = {
    "csv": as_csv,
    "json": as_json,
    "markdown": as_markdown,
    "latex": as_latex,
}


def _header(rows: Sequence[Row]) -> list[str]:
    return list(rows[0]) if rows else [*_IDENTITY, *_COSTS, *scores_of_table([])]


def _are_numbers(rows: Sequence[Row], header: Sequence[str]) -> list[bool]:
    return [not any(isinstance(row[column], str) for row in rows) for column in header]


def _cell(column: str, value: Any) -> str:
    """Four digits of what was measured."""
    if value is None:
        return "-"
    return f"{value:.4f}" if column in FRACTIONS else str(value)
