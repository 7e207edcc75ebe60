"""What the law answers: the score of a cell that was not trained, and the best cell for a budget."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mnet_jax.report.cells import Cell, label_of
from mnet_jax.report.costs import Costs
from mnet_jax.report.law import Fit, Law
from mnet_jax.report.neighbours import told_apart
from mnet_jax.report.noise import seed_noise

_ALPHA_STEP = 0.01


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Of one cell.

    Attributes:
      score: a fraction; `interval` has its 95% interval, or None where nothing is known of the noise.
      mult_adds: or None outside the grid.
      is_counted: the cell was trained; else its Mult-Adds are interpolated.
      is_outside: of the grid's range.
    """

    label: str
    fit: Fit
    score: float
    interval: tuple[float, float] | None
    mult_adds: float | None
    is_counted: bool
    is_outside: bool


@dataclasses.dataclass(frozen=True)
class Best:
    """For a budget.

    Attributes:
      cell: the most accurate that was trained and costs no more; None where all cost more.
      rivals: cells within the budget that are not told apart from it.
      compound: the law's best split of the budget between alpha and input size; None where no form is curved.
      beyond: what `mult_adds_power` says of a budget outside the grid's range, with its fit; else None.
    """

    cell: Cell | None
    rivals: tuple[Cell, ...]
    compound: Prediction | None
    beyond: tuple[float, Fit] | None
    is_outside: bool


def predict(law: Law, alpha: float | None, input_size: int) -> Prediction | str:
    """The prediction for a cell, or a sentence that says why there is none.

    Inside the grid the richest form that was fitted answers; outside never the quadratic, which flattens too early.
    """
    family, costs = law.family, Costs(law.family) if law.family.axes else None
    for axis, value in (("alpha", alpha), ("input_size", input_size)):
        (level, *more) = family.levels[axis]
        if not more and value != level:
            return f"nothing is known of {axis} {value}: all cells have {level}"
    if costs is None:
        return law.fits[0].refused
    cost = float(costs.between([alpha], [input_size])[0])
    is_outside = bool(np.isnan(cost))
    fit = law.outside if is_outside else law.inside
    if fit is None:
        return "no form was fitted: " + "; ".join(f"{fit.name} {fit.refused}" for fit in law.fits[:3])
    return _prediction(fit, alpha, input_size, None if is_outside else cost)


def best(law: Law, budget: float) -> Best:
    """The best cell of at most `budget` Mult-Adds."""
    family = law.family
    affordable = sorted((c for c in family.cells if c.mult_adds <= budget), key=lambda c: (-c.mean, c.mult_adds))
    cell = affordable[0] if affordable else None
    pairs = [(cell, other) for other in affordable[1:]]
    told = told_apart(pairs, seed_noise(family))
    rivals = tuple(other for (_, other), is_told in zip(pairs, told, strict=True) if not is_told)
    all_costs = [c.mult_adds for c in family.cells]
    is_outside = not min(all_costs) <= budget <= max(all_costs)
    return Best(cell, rivals, _compound(law, budget), _beyond(law, budget) if is_outside else None, is_outside)


def _compound(law: Law, budget: float) -> Prediction | None:
    """The most accurate place within the grid and the budget, by the quadratic; its Mult-Adds are interpolated.

    The other forms have straight contours over the logarithms, as costs nearly have: their best split is at an end.
    """
    fit = law["logit_quadratic"]
    if fit.refused:
        return None
    alphas, sizes = _everywhere(law.family.levels["alpha"], law.family.levels["input_size"])
    costs = Costs(law.family).between(alphas, sizes)
    is_open = costs <= budget * (1 + 1e-9)  # NaN outside
    if not is_open.any():
        return None
    alphas, sizes, costs = alphas[is_open], sizes[is_open], costs[is_open]
    i = int(fit.score(law.family.place(alphas, sizes, costs)).argmax())
    alpha, size = round(float(alphas[i]), 2), int(sizes[i])
    return _prediction(fit, alpha, size, float(costs[i]))


def _beyond(law: Law, budget: float) -> tuple[float, Fit] | None:
    fit = law["mult_adds_power"]
    if fit.refused:
        return None
    size = law.family.levels["input_size"][0]
    return float(fit.score(law.family.place([None], [size], [budget]))[0]), fit


def _prediction(fit: Fit, alpha: float | None, input_size: int, interpolated: float | None) -> Prediction:
    """Args:
    interpolated: the Mult-Adds; None outside the grid.
    """
    cells = {(cell.alpha, cell.input_size): cell.mult_adds for cell in fit.family.cells}
    counted = cells.get((alpha, input_size))
    cost = interpolated if counted is None else counted
    place = fit.family.place([alpha], [input_size], [np.nan if cost is None else cost])
    interval = fit.interval(place)
    bounds = None if interval is None else (float(interval[0, 0]), float(interval[1, 0]))
    score = float(fit.score(place)[0])
    label = label_of(alpha, input_size)
    return Prediction(label, fit, score, bounds, cost, counted is not None, interpolated is None)


def _everywhere(alphas: Sequence[float], sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Alphas in steps of a hundredth, and the input sizes, between the levels, as flat arrays."""
    steps = np.arange(round(min(alphas) / _ALPHA_STEP), round(max(alphas) / _ALPHA_STEP) + 1) * _ALPHA_STEP
    steps = np.clip(steps, min(alphas), max(alphas))
    found = np.meshgrid(np.union1d(steps, alphas), np.arange(min(sizes), max(sizes) + 1), indexing="ij")
    return found[0].ravel(), found[1].ravel()
