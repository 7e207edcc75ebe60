"""Rows to families of cells: trials of one recipe, which differ in alpha, input size and seeds alone."""

import dataclasses
import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnet_jax.config.tasks import Score, scores_of
from mnet_jax.report.forms import AXES, Places
from mnet_jax.report.points import chosen_columns, differing, grouped, of_images, settings_columns, values
from mnet_jax.workdir.files import DIVERGED, DONE
from mnet_jax.workdir.results import SEEDS, Row

_TUNED = "tuned"  # status of a row that only chose a value
_OF_A_FILE = ("data.image_size", "train.init_from", "train.init_fingerprint")  # what imported weights bring along
_NEAR_CHANCE = 3.0  # binomial standard errors above 1 / num_classes


@dataclasses.dataclass(frozen=True)
class Cell:
    """Trials that differ in nothing but their seeds.

    Attributes:
      label: such as "alpha=0.5,input_size=160".
      alpha: or None for a network that has none.
      scores: of each seed, a fraction.
      seeds: (`seed`, `data.seed`) of each.
      trials: the names of the rows.
      num_images: that each was tested on, or None where the table does not say.
      error_of_images: standard error of the first seed's over the test images, a fraction; None likewise.
      shares: (images,) in the order of the split, whose mean is the cell's: of top-1, the share of the seeds that are
        right; see `workdir.predictions`. Or None.
    """

    label: str
    alpha: float | None
    input_size: int
    mult_adds: int
    params: int | None
    scores: tuple[float, ...]
    seeds: tuple[tuple, ...]
    trials: tuple[str, ...]
    num_images: int | None
    error_of_images: float | None
    shares: np.ndarray | None

    @functools.cached_property
    def mean(self) -> float:
        return statistics.mean(self.scores)

    def at(self, axis: str) -> float | None:
        return getattr(self, axis)


@dataclasses.dataclass(frozen=True)
class Family:
    """Cells that may be compared and fitted together.

    Attributes:
      score: that is compared and fitted, the first of their task.
      model: the network.
      recipe: what tells it from other families of the network in the same table, by column.
      cells: from the largest alpha and input size on.
      left_out: sentences, each about a cell that is not used.
      beside: how many cells other recipes of the network have.
    """

    score: Score
    model: str
    recipe: Mapping[str, Any]
    cells: tuple[Cell, ...]
    left_out: tuple[str, ...] = ()
    beside: int = 0

    @property
    def name(self) -> str:
        return ", ".join([self.model, *(f"{column} {value}" for column, value in self.recipe.items())])

    @functools.cached_property
    def levels(self) -> dict[str, list]:
        """The values of each axis that occur, from the largest on."""
        return {axis: sorted({cell.at(axis) for cell in self.cells}, key=lambda level: -(level or 0)) for axis in AXES}

    @functools.cached_property
    def axes(self) -> tuple[str, ...]:
        """Those with more than one level; the others have no place in a law."""
        return tuple(axis for axis in AXES if len(self.levels[axis]) > 1)

    @functools.cached_property
    def errors(self) -> np.ndarray:
        """1 - each cell's mean, (cells,)."""
        return np.array([1 - cell.mean for cell in self.cells])

    @functools.cached_property
    def weights(self) -> np.ndarray:
        """Seeds of each cell over their mean, (cells,)."""
        counts = np.array([len(cell.scores) for cell in self.cells], float)
        return counts / counts.mean()

    @functools.cached_property
    def places(self) -> Places:
        alphas, sizes, costs = zip(*((cell.alpha, cell.input_size, cell.mult_adds) for cell in self.cells), strict=True)
        return self.place(alphas, sizes, costs)

    def place(self, alphas: Sequence, sizes: Sequence, costs: Sequence) -> Places:
        """Any cells, in the units of this family; costs in Mult-Adds."""
        largest = max(cell.mult_adds for cell in self.cells)
        return Places(
            np.log([alpha or 1.0 for alpha in alphas]),
            np.log(np.array(sizes, float) / self.levels["input_size"][0]),
            np.log(np.array(costs, float) / largest),
        )

    def without(self, index: int) -> "Family":
        """All cells but one; see `law` for what is made of it."""
        return dataclasses.replace(self, cells=self.cells[:index] + self.cells[index + 1 :])


def families(rows: Sequence[Row], shares: Mapping[str, np.ndarray] | None = None) -> list[Family]:
    """Families in the order of the table.

    Values that tuning chose per cell (column `chosen`) tell no families apart. Rows of unknown size, of damaged trials,
    belong to none.

    Args:
      rows: of a table.
      shares: (images,) of trials by name, in the order of the test split; see `workdir.predictions`.
    """
    columns = [column for column in settings_columns(rows) if column not in AXES]
    known = [row for row in rows if row["model"] and row["input_size"] and row["status"] != _TUNED]
    by_recipe = grouped(known, lambda row: _recipe(row, columns))
    found = [_family(same, shares or {}) for same in by_recipe.values()]
    return [_named(family, same, known, found) for family, same in zip(found, by_recipe.values(), strict=True)]


def label_of(alpha: float | None, input_size: int) -> str:
    """As trials are called."""
    return ",".join([*([f"alpha={alpha}"] if alpha is not None else []), f"input_size={input_size}"])


def _recipe(row: Row, columns: Sequence[str]) -> tuple:
    """What cells of one family share; chosen values, and what a file of weights brings along, are replaced."""
    beside = chosen_columns(row) | set(_OF_A_FILE if row.get("epochs") == 0 else ())
    return (row.get("test_images"), *(("chosen",) if column in beside else row.get(column) for column in columns))


def _family(rows: Sequence[Row], shares: Mapping[str, np.ndarray]) -> Family:
    score, cells, left_out = scores_of(rows[0])[0], [], []
    by_cell = grouped(rows, lambda row: values(row, AXES))
    for key in sorted(by_cell, key=lambda key: (-(key[0] or 0), -key[1])):
        if reason := _reason_against(by_cell[key], score):
            left_out.append(f"{label_of(*key)} is not used: {reason}")
        else:
            cells.append(_cell([row for row in by_cell[key] if row["status"] == DONE], score, shares))
    lengths = {None if cell.shares is None else len(cell.shares) for cell in cells}
    if len(lengths) > 1:  # some trial's are not there: the images cannot be drawn for all cells together
        cells = [dataclasses.replace(cell, shares=None) for cell in cells]
    return Family(score, rows[0]["model"], {}, tuple(cells), tuple(left_out))


def _reason_against(rows: Sequence[Row], score: Score) -> str | None:
    """Why a cell is neither fitted nor compared, in words."""
    done = [row for row in rows if row["status"] == DONE]
    if any(row["status"] == DIVERGED for row in rows):
        return "a trial diverged" if len(rows) > 1 else "it diverged"
    if not done:
        return f"it is {rows[0]['status']}, not done"
    if len({row.get("replicate") for row in done}) > 1:
        return "its trials differ in more than their seeds"
    reached = [row.get(score.column) for row in done]
    if not all(value is not None and math.isfinite(value) for value in reached):
        return f"its {score.words} is not known"
    if not done[0]["mult_adds"]:
        return "its Mult-Adds are not known"
    mean = statistics.mean(reached)
    if not 0 < mean < 1:
        return f"its {score.words} is {mean:g}"
    num_images = sum(row["test_images"] or 0 for row in done)
    if score.is_share and _is_near_chance(mean, done[0].get("num_classes"), num_images):
        return f"its {score.words} of {mean:.4f} is that of chance among {done[0]['num_classes']} classes"
    return None


def _is_near_chance(share: float, num_classes: int | None, num_images: int) -> bool:
    if not num_classes or not num_images:
        return False
    chance = 1 / num_classes
    return share <= chance + _NEAR_CHANCE * math.sqrt(chance * (1 - chance) / num_images)


def _cell(rows: Sequence[Row], score: Score, shares: Mapping[str, np.ndarray]) -> Cell:
    first, names = rows[0], [row["trial"] for row in rows]
    found = [shares[name] for name in names if name in shares]
    is_whole = len(found) == len(rows) and len({len(own) for own in found}) == 1
    return Cell(
        label_of(first["alpha"], first["input_size"]),
        first["alpha"],
        first["input_size"],
        first["mult_adds"],
        first["params"],
        tuple(row[score.column] for row in rows),
        tuple(values(row, SEEDS) for row in rows),
        tuple(names),
        first["test_images"],
        of_images(first),
        np.mean(found, axis=0, dtype=np.float32) if is_whole else None,
    )


def _named(family: Family, rows: Sequence[Row], all_rows: Sequence[Row], found: Sequence[Family]) -> Family:
    """With what tells it from the other families of its network."""
    same_model = [row for row in all_rows if row["model"] == family.model]
    beside = sum(len(other.cells) for other in found if other.model == family.model) - len(family.cells)
    own = chosen_columns(rows[0])
    columns = [column for column in settings_columns(all_rows) if column not in (*AXES, *own)]
    told = [column for column in differing(same_model, columns) if len({row.get(column) for row in rows}) == 1]
    return dataclasses.replace(family, recipe={column: rows[0].get(column) for column in told}, beside=beside)
