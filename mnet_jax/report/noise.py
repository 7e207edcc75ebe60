"""How much the score of a cell varies with its seed, from all cells of a family together."""

import dataclasses
import math

import numpy as np
from scipy import stats
from scipy.special import stdtr

from mnet_jax.report.cells import Cell, Family

_SHOWS = 0.05  # level at which a common effect of the seeds counts


@dataclasses.dataclass(frozen=True)
class SeedNoise:
    """Standard deviation of the score over seeds, a fraction, pooled over cells.

    Attributes:
      sd: of a cell's score, for statements about one cell.
      sd_of_gaps: the same without what the seeds do to all cells alike, for statements about differences of cells.
      df: degrees of freedom of `sd_of_gaps`.
      is_paired: whether such a common effect shows, so that it was taken out.
    """

    sd: float
    sd_of_gaps: float
    df: int
    is_paired: bool

    def half_width(self, a: Cell, b: Cell) -> float:
        """Of the 95% interval of the difference of two cells' means, a fraction."""
        return float(stats.t.ppf(0.975, self.df)) * self._of_gap(a, b)

    def p_value(self, a: Cell, b: Cell) -> float:
        """Of "these two recipes are equally good", two-sided."""
        gap, scale = abs(a.mean - b.mean), self._of_gap(a, b)
        if not scale:
            return float(gap == 0)
        return float(2 * stdtr(self.df, -gap / scale))

    def smallest_gap(self, a: Cell, b: Cell) -> float:
        """A true difference that the test of one pair finds with a power of 90%, a fraction."""
        return float(stats.t.ppf(0.975, self.df) + stats.norm.ppf(0.9)) * self._of_gap(a, b)

    def _of_gap(self, a: Cell, b: Cell) -> float:
        return self.sd_of_gaps * math.sqrt(1 / len(a.scores) + 1 / len(b.scores))


def seed_noise(family: Family) -> SeedNoise | None:
    """None where no cell has two seeds."""
    df = sum(len(cell.scores) - 1 for cell in family.cells)
    if not df:
        return None
    squares = sum(float(np.var(cell.scores)) * len(cell.scores) for cell in family.cells)
    sd = math.sqrt(squares / df)
    return _paired(family, sd) or SeedNoise(sd, sd, df, False)


def _paired(family: Family, sd: float) -> SeedNoise | None:
    """Where every cell has the same seeds and they have an effect that all cells share: a two-way table's residuals.

    Trials of one seed share their stream of images, and may share their first draws.
    """
    seeds = sorted(family.cells[0].seeds, key=repr)
    if len(family.cells) < 2 or any(sorted(cell.seeds, key=repr) != seeds for cell in family.cells):
        return None
    by_seed = [dict(zip(cell.seeds, cell.scores, strict=True)) for cell in family.cells]
    table = np.array([[own[seed] for seed in seeds] for own in by_seed])
    num_cells, num_seeds = table.shape
    effects = table.mean(0) - table.mean()
    residuals = table - table.mean(1, keepdims=True) - effects
    df = (num_cells - 1) * (num_seeds - 1)
    own = float((residuals**2).sum()) / df
    common = num_cells * float((effects**2).sum()) / (num_seeds - 1)
    if own <= 0 or stats.f.sf(common / own, num_seeds - 1, df) >= _SHOWS:
        return None
    return SeedNoise(sd, math.sqrt(own), df, True)
