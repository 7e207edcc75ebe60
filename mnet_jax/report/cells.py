"""Rows to families of cells: trials of one recipe, which differ in alpha, input size and seeds alone."""

import dataclasses
import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnet_jax.report.forms import AXES, Places
from mnet_jax.report.points import chosen_columns, differing, grouped, settings_columns, values
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
      top1: of each seed, a fraction.
      seeds: (`seed`, `data.seed`) of each.
      trials: the names of the rows.
      num_images: that each was tested on, or None where the table does not say.
      correct: (images,) the share of the seeds that are right, in the order of the split; or None.
    """

    label: str
    alpha: float | None
    input_size: int
    mult_adds: int
    params: int | None
    top1: tuple[float, ...]
    seeds: tuple[tuple, ...]
    trials: tuple[str, ...]
    num_images: int | None
    correct: np.ndarray | None

    @functools.cached_property
    def mean(self) -> float:
        return statistics.mean(self.top1)

    def at(self, axis: str) -> float | None:
        return getattr(self, axis)


@dataclasses.dataclass(frozen=True)
class Family:
    """Cells that may be compared and fitted together.

    Attributes:
      model: the network.
      recipe: what tells it from other families of the network in the same table, by column.
      cells: from the largest alpha and input size on.
      left_out: sentences, each about a cell that is not used.
      beside: how many cells other recipes of the network have.
    """

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
        """1 - top-1 of each cell's mean, (cells,)."""
        return np.array([1 - cell.mean for cell in self.cells])

    @functools.cached_property
    def weights(self) -> np.ndarray:
        """Seeds of each cell over their mean, (cells,)."""
        counts = np.array([len(cell.top1) for cell in self.cells], float)
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


def families(rows: Sequence[Row], correct: Mapping[str, np.ndarray] | None = None) -> list[Family]:
    """Families in the order of the table.

    Values that tuning chose per cell (column `chosen`) tell no families apart. Rows of unknown size, of damaged trials,
    belong to none.

    Args:
      rows: of a table.
      correct: (images,) of trials by name, True where a trial is right, in the order of the test split.
    """
    columns = [column for column in settings_columns(rows) if column not in AXES]
    known = [row for row in rows if row["model"] and row["input_size"] and row["status"] != _TUNED]
    by_recipe = grouped(known, lambda row: _recipe(row, columns))
    found = [_family(same, correct or {}) for same in by_recipe.values()]
    return [_named(family, same, known, found) for family, same in zip(found, by_recipe.values(), strict=True)]


def label_of(alpha: float | None, input_size: int) -> str:
    """As trials are called."""
    return ",".join([*([f"alpha={alpha}"] if alpha is not None else []), f"input_size={input_size}"])


def _recipe(row: Row, columns: Sequence[str]) -> tuple:
    """What cells of one family share; chosen values, and what a file of weights brings along, are replaced."""
    beside = chosen_columns(row) | set(_OF_A_FILE if row.get("epochs") == 0 else ())
    return (row.get("test_images"), *(("chosen",) if column in beside else row.get(column) for column in columns))


def _family(rows: Sequence[Row], correct: Mapping[str, np.ndarray]) -> Family:
    cells, left_out = [], []
    by_cell = grouped(rows, lambda row: values(row, AXES))
    for key in sorted(by_cell, key=lambda key: (-(key[0] or 0), -key[1])):
        if reason := _reason_against(by_cell[key]):
            left_out.append(f"{label_of(*key)} is not used: {reason}")
        else:
            cells.append(_cell([row for row in by_cell[key] if row["status"] == DONE], correct))
    lengths = {None if cell.correct is None else len(cell.correct) for cell in cells}
    if len(lengths) > 1:  # some trial's bits are not there: the images cannot be drawn for all cells together
        cells = [dataclasses.replace(cell, correct=None) for cell in cells]
    return Family(rows[0]["model"], {}, tuple(cells), tuple(left_out))


def _reason_against(rows: Sequence[Row]) -> str | None:
    """Why a cell is neither fitted nor compared, in words."""
    done = [row for row in rows if row["status"] == DONE]
    if any(row["status"] == DIVERGED for row in rows):
        return "a trial diverged" if len(rows) > 1 else "it diverged"
    if not done:
        return f"it is {rows[0]['status']}, not done"
    if len({row.get("replicate") for row in done}) > 1:
        return "its trials differ in more than their seeds"
    if not all(row["top1"] is not None and math.isfinite(row["top1"]) for row in done):
        return "its accuracy is not known"
    if not done[0]["mult_adds"]:
        return "its Mult-Adds are not known"
    top1 = statistics.mean(row["top1"] for row in done)
    if not 0 < top1 < 1:
        return f"its top-1 is {top1:g}"
    if _is_near_chance(top1, done[0].get("num_classes"), sum(row["test_images"] or 0 for row in done)):
        return f"its top-1 of {top1:.4f} is that of chance among {done[0]['num_classes']} classes"
    return None


def _is_near_chance(top1: float, num_classes: int | None, num_images: int) -> bool:
    if not num_classes or not num_images:
        return False
    chance = 1 / num_classes
    return top1 <= chance + _NEAR_CHANCE * math.sqrt(chance * (1 - chance) / num_images)


def _cell(rows: Sequence[Row], correct: Mapping[str, np.ndarray]) -> Cell:
    first, names = rows[0], [row["trial"] for row in rows]
    bits = [correct[name] for name in names if name in correct]
    is_whole = len(bits) == len(rows) and len({len(own) for own in bits}) == 1
    return Cell(
        label_of(first["alpha"], first["input_size"]),
        first["alpha"],
        first["input_size"],
        first["mult_adds"],
        first["params"],
        tuple(row["top1"] for row in rows),
        tuple(values(row, SEEDS) for row in rows),
        tuple(names),
        first["test_images"],
        np.mean(bits, axis=0, dtype=np.float32) if is_whole else None,
    )


def _named(family: Family, rows: Sequence[Row], all_rows: Sequence[Row], found: Sequence[Family]) -> Family:
    """With what tells it from the other families of its network."""
    same_model = [row for row in all_rows if row["model"] == family.model]
    beside = sum(len(other.cells) for other in found if other.model == family.model) - len(family.cells)
    own = chosen_columns(rows[0])
    columns = [column for column in settings_columns(all_rows) if column not in (*AXES, *own)]
    told = [column for column in differing(same_model, columns) if len({row.get(column) for row in rows}) == 1]
    return dataclasses.replace(family, recipe={column: rows[0].get(column) for column in told}, beside=beside)
