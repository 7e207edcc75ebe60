"""The law of a family: its forms, fitted, each with the errors of cells left out, intervals, and what it refuses.

Which form is good for what was measured on the published grids and in simulated sweeps: `docs/law.md`.
"""

import dataclasses

import numpy as np

from mnet_jax.report import bootstrap
from mnet_jax.report.cells import Family
from mnet_jax.report.forms import AXES, Form, Places, forms

_NEEDS = {  # cells, and levels on each axis that is in the form
    "logit_quadratic": (9, 3),
    "power_with_floor": (7, 3),
    "log_linear": (5, 1),
    "mult_adds_power": (5, 3),
}
_WORST_CONDITION = 6.0  # of standardised features; a correlation of 0.95 of two. Full grids have 1 to 3
_MOST_AT_BOUND = 0.05  # share of the draws
_PARTS = 20  # in which the draws are fitted
_QUANTILES = (2.5, 97.5)  # per cent


@dataclasses.dataclass(frozen=True)
class Fit:
    """A form, fitted to a family, or why it is not.

    Attributes:
      refused: a sentence, or None.
      found: (coefficients,).
      drawn: (draws, coefficients), or None where nothing is known of the noise.
      misses: (cells,) |prediction - mean| of each cell by a fit to the others, fractions.
    """

    form: Form
    family: Family
    refused: str | None = None
    found: np.ndarray | None = None
    drawn: np.ndarray | None = None
    misses: np.ndarray | None = None

    @property
    def name(self) -> str:
        return self.form.name

    @property
    def loo_mean(self) -> float | None:
        return None if self.misses is None else float(self.misses.mean())

    @property
    def loo_max(self) -> float | None:
        return None if self.misses is None else float(self.misses.max())

    def score(self, places: Places) -> np.ndarray:
        """Predicted fractions (cells,)."""
        return 1 - self.form.predict(self.found[np.newaxis], places)[0]

    def interval(self, places: Places) -> np.ndarray | None:
        """95% intervals of `score`, (2, cells); what the form itself misses is not in them."""
        if self.drawn is None:
            return None
        return np.percentile(1 - self.form.predict(self.drawn, places), _QUANTILES, axis=0)

    def coefficient_intervals(self) -> np.ndarray | None:
        """(2, coefficients)."""
        return None if self.drawn is None else np.percentile(self.drawn, _QUANTILES, axis=0)


@dataclasses.dataclass(frozen=True)
class Law:
    """All forms of a family.

    Attributes:
      fits: in the order of `forms`.
      source: what the intervals are of, in words; None where there are none.
    """

    family: Family
    fits: tuple[Fit, ...]
    source: str | None

    def __getitem__(self, name: str) -> Fit:
        return next(fit for fit in self.fits if fit.name == name)

    @property
    def inside(self) -> Fit | None:
        """The form that predicts inside the grid: the richest that is not refused and knows the axes."""
        return next((fit for fit in self.fits[:3] if not fit.refused), None)

    @property
    def outside(self) -> Fit | None:
        """The form that may be asked outside, with a warning: never the quadratic."""
        return next((fit for fit in self.fits[1:3] if not fit.refused), None)

    @property
    def simpler(self) -> Fit | None:
        """A simpler form that misses no more than `inside` does, within one standard error of its mean."""
        best = self.inside
        if best is None or len(best.misses) < 2:
            return None
        limit = best.loo_mean + best.misses.std(ddof=1) / np.sqrt(len(best.misses))
        others = self.fits[self.fits.index(best) + 1 : 3]
        return next((fit for fit in reversed(others) if not fit.refused and fit.loo_mean <= limit), None)


def fit_law(family: Family) -> Law:
    """Fits every form that the family is large enough for."""
    draws = bootstrap.draw(family) if family.cells else None
    fits = tuple(fit_form(family, form, draws) for form in forms(family.axes))
    is_any = any(not fit.refused for fit in fits)
    return Law(family, fits, draws.source if draws and is_any else None)


def fit_form(family: Family, form: Form, draws: bootstrap.Draws | None) -> Fit:
    """A form, or the refusal of it."""
    if refused := refusal(family, form):
        return Fit(form, family, refused)
    found = form.fit(family.places, family.errors[np.newaxis], family.weights)[0]
    misses = np.array([_miss(family, form, i) for i in range(len(family.cells))])
    if draws is None:
        return Fit(form, family, None, found, None, misses)
    drawn = _redrawn(form, family, draws.errors, found)
    if drawn is None:
        refused = f"the floor is not identified: more than {_MOST_AT_BOUND:.0%} of the draws end at a bound"
        return Fit(form, family, f"{refused}; quote log_linear")
    return Fit(form, family, None, found, drawn, misses)


def _redrawn(form: Form, family: Family, errors: np.ndarray, found: np.ndarray) -> np.ndarray | None:
    """The coefficients of each draw, or None as soon as too many of them lie at a bound."""
    drawn, num_at_bound = [], 0
    for part in np.array_split(errors, _PARTS):
        drawn.append(form.refit(family.places, part, family.weights, found))
        num_at_bound += form.is_at_bound(drawn[-1], part).sum()
        if num_at_bound > _MOST_AT_BOUND * len(errors):
            return None
    return np.concatenate(drawn)


def refusal(family: Family, form: Form) -> str | None:
    """Why a form cannot be fitted to a family, in words; None where it can."""
    if not family.axes:
        there = f"there {_counted(len(family.cells), 'cell', 'is', 'are')}{_beside(family)}"
        return f"alpha and input_size have one level each: nothing to fit ({there})"
    num_cells, num_levels = _NEEDS[form.name]
    levels = {axis: len(family.levels[axis]) for axis in AXES}
    needs_both = num_levels == 3 and form.name != "mult_adds_power"
    poor = [axis for axis in (AXES if needs_both else family.axes) if levels[axis] < num_levels]
    if poor or len(family.cells) < num_cells:
        levels_needed = f" and {num_levels} levels on {'both axes' if needs_both else 'each axis'}"
        found = ", ".join(f"{_counted(count, 'level')} of {axis}" for axis, count in levels.items())
        needs = f"needs {num_cells} cells{levels_needed if num_levels > 1 else ''}"
        return f"{needs}; there {_counted(len(family.cells), 'cell', 'is', 'are')} with {found}{_beside(family)}"
    return _confusion(family, form)


def _confusion(family: Family, form: Form) -> str | None:
    """Whether the cells cannot tell the coefficients apart, or could not without one of them."""
    everywhere = np.ones(len(family.cells), bool)
    if not _is_clear(form, family.places):
        return "alpha and input_size change together: their effects cannot be told apart"
    for i, cell in enumerate(family.cells):
        rest = everywhere.copy()
        rest[i] = False
        if not _is_clear(form, family.places[rest]):
            return f"only the cell {cell.label} tells the effects of alpha and input_size apart"
    return None


def _is_clear(form: Form, places: Places) -> bool:
    """Whether the features of cells, centred and scaled, are far from depending on each other."""
    if form.name == "mult_adds_power":
        return len(np.unique(places.mult_adds)) >= len(form.coefficients)
    centred = Places(*(axis - axis.mean() for axis in (places.alpha, places.input_size)), places.mult_adds)
    features = form.features(centred)
    spread = features.std(0)
    if len(features) <= features.shape[1] or not spread.all():
        return False
    return np.linalg.cond((features - features.mean(0)) / spread) < _WORST_CONDITION


def _miss(family: Family, form: Form, index: int) -> float:
    rest = np.arange(len(family.cells)) != index
    found = form.fit(family.places[rest], family.errors[np.newaxis, rest], family.weights[rest])
    predicted = form.predict(found, family.places[[index]])[0, 0]
    return abs(float(predicted - family.errors[index]))


def _beside(family: Family) -> str:
    if not family.beside:
        return ""
    return f"; {_counted(family.beside, 'cell')} of other recipes {'is' if family.beside == 1 else 'are'} not mixed in"


def _counted(count: int, noun: str, one: str = "", many: str = "") -> str:
    verb = one if count == 1 else many
    return f"{verb} {count} {noun}{'s' * (count != 1)}".strip()
