"""Which cells are told apart: neighbours of a grid, and the front of those that nobody beats.

A t test with the seed noise that is pooled over the family; Holm's correction over the pairs that are looked at. "Not
told apart" is not "equal".
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from mnet_jax.report.cells import Cell, Family
from mnet_jax.report.forms import AXES
from mnet_jax.report.noise import SeedNoise, seed_noise

LEVEL = 0.05


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two cells, the more expensive level first.

    Attributes:
      gap: of their mean scores, a fraction.
      half_width: of its 95% interval over seeds, of this pair alone; None where there is one seed.
      smallest_gap: that a test of this pair finds with a power of 90%; None where there is one seed.
      is_told_apart: among all pairs of the family.
      of_checkpoints: half the 95% interval of the gap of two single trials, over drawn test images, which speaks of
        these checkpoints alone; None where there are several seeds or no records of single images.
    """

    a: Cell
    b: Cell
    gap: float
    half_width: float | None
    smallest_gap: float | None
    is_told_apart: bool
    of_checkpoints: float | None = None


def neighbours(family: Family) -> list[Pair]:
    """The pairs that differ in one axis by one level, row by row."""
    noise = seed_noise(family)
    cells = {tuple(cell.at(axis) for axis in AXES): cell for cell in family.cells}
    found = []
    for place, cell in cells.items():
        for i, axis in enumerate(AXES):
            levels = family.levels[axis]
            beyond = levels.index(place[i]) + 1
            if beyond < len(levels) and (other := cells.get((*place[:i], levels[beyond], *place[i + 1 :]))):
                found.append((cell, other))
    return [_pair(a, b, noise, is_told) for (a, b), is_told in zip(found, told_apart(found, noise), strict=True)]


def front(family: Family) -> list[Cell]:
    """The cells that no cell of at most their Mult-Adds beats in a gap that is told apart, among all pairs of cells."""
    pairs = list(itertools.combinations(family.cells, 2))
    dominated = {
        id(worse)
        for pair, is_told in zip(pairs, told_apart(pairs, seed_noise(family)), strict=True)
        for better, worse in (pair, pair[::-1])
        if is_told and better.mean > worse.mean and better.mult_adds <= worse.mult_adds
    }
    return [cell for cell in family.cells if id(cell) not in dominated]


def told_apart(pairs: Sequence[tuple[Cell, Cell]], noise: SeedNoise | None) -> list[bool]:
    """Whether each pair is, when all of them are looked at; nobody is where there is one seed."""
    if noise is None:
        return [False] * len(pairs)
    return holm([noise.p_value(a, b) for a, b in pairs])


def holm(p_values: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Which hypotheses are rejected so that a true one is among them with a probability of at most `level`.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    rejected = [False] * len(p_values)
    for rank, i in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[i] > level / (len(p_values) - rank):
            break
        rejected[i] = True
    return rejected


def _pair(a: Cell, b: Cell, noise: SeedNoise | None, is_told_apart: bool) -> Pair:
    gap = a.mean - b.mean
    if noise is not None:
        return Pair(a, b, gap, noise.half_width(a, b), noise.smallest_gap(a, b), is_told_apart)
    return Pair(a, b, gap, None, None, False, _of_checkpoints(a, b))


def _of_checkpoints(a: Cell, b: Cell) -> float | None:
    """Of two single trials on the same images."""
    if a.shares is None or b.shares is None:
        return None
    differences = np.subtract(a.shares, b.shares, dtype=np.float64)
    return float(stats.norm.ppf(0.975) * differences.std(ddof=1) / math.sqrt(len(differences)))
