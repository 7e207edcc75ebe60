"""What was tried in each cell of a tuned sweep and what was chosen: a table, and a plot of validation accuracy."""

from collections.abc import Mapping
from typing import Any

from mnet_jax.report.tables import table
from mnet_jax.workdir.files import Damaged, Workdir

_Cell = Mapping[str, Any]


def as_tuning_table(workdir: Workdir) -> str:
    """A line per cell: validation top-1 of every value, the chosen one in brackets; "" where nothing was tuned."""
    axes, cells = read(workdir)
    if not cells:
        return ""
    tried = list(dict.fromkeys(_words(one["values"]) for cell in cells for one in cell["tried"]))
    rows = []
    for cell in cells:
        scores = {_words(one["values"]): one["top1"] for one in cell["tried"]}
        chosen = _words(cell["chosen"]) if cell["chosen"] else None
        said = [_score(scores.get(words), words in scores, words == chosen) for words in tried]
        rows.append([cell["cell"] or "all", *said, _edge(cell)])
    lines = [f"validation top-1 by {' and '.join(axes)}; [the best] is trained"]
    return "\n".join([*lines, table(["cell", *tried, "note"], rows, [False, *[True] * len(tried), False])])


def read(workdir: Workdir) -> tuple[dict[str, list], list[_Cell]]:
    """The tuned fields with their values, and the cells; both empty where nothing was tuned or the file is damaged."""
    try:
        tuning = workdir.tuning()
    except Damaged:
        return {}, []
    return tuning.get("axes", {}), tuning.get("cells", [])


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values.values())


def _score(top1: float | None, is_tried: bool, is_chosen: bool) -> str:
    if top1 is None:
        return "-" if is_tried else ""
    return f"[{top1:.4f}]" if is_chosen else f"{top1:.4f} "


def _edge(cell: _Cell) -> str:
    """What is to be said of a best value that is the first or the last of those that were tried."""
    return f"best {' and '.join(cell['at_edge'])} at the edge of its range" if cell["at_edge"] else ""
