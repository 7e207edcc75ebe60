"""The forms of the law: the error of a cell as a function of its alpha, its input size and its Mult-Adds.

A form is fitted to many drawn tables at once, errors (draws, cells), with a weight for each cell. The logarithms are
natural; alpha counts from 1, the input size and the Mult-Adds from the largest of the family.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.optimize import least_squares, leastsq
from scipy.special import expit, logit

_FLOORS, _EXPONENTS = (0.05, 0.5, 0.9), (0.2, 0.6, 1.5)  # starts: shares of the smallest error, and exponents
_STEEPEST = 5.0  # exponent
_TOLERANCE = 1e-10  # with the usual 1e-8 and residuals of order 1 fits stop early: arXiv 2404.10102
_SCALE = 100  # of the residuals, for the same reason
_PATIENCE = 100  # evaluations without bounds; those that stay within them need some 20
_CONVERGED = (1, 2, 3, 4)  # what `leastsq` says then
_AT_BOUND = 1e-3  # relative distance from a bound that counts as being there

AXES = ("alpha", "input_size")
_LOG_OF = {"alpha": "ln_alpha", "input_size": "ln_rho"}
_EXPONENT_OF = {"alpha": "u", "input_size": "v"}


@dataclasses.dataclass(frozen=True)
class Places:
    """Where cells stand, as natural logarithms, each (cells,).

    Attributes:
      alpha: ln alpha; 0 for a network that has none.
      input_size: ln of the share of the family's largest.
      mult_adds: ln of the share of the family's largest; NaN where nobody counted.
    """

    alpha: np.ndarray
    input_size: np.ndarray
    mult_adds: np.ndarray

    def __len__(self) -> int:
        return len(self.alpha)

    def __getitem__(self, which) -> "Places":
        return Places(self.alpha[which], self.input_size[which], self.mult_adds[which])


Features = Callable[[Places], np.ndarray]  # (cells, features)


@dataclasses.dataclass(frozen=True)
class Linear:
    """link(error) as a linear function of features: least squares, one solution.

    Attributes:
      coefficients: their names, the constant first.
      features: beside the constant.
      link, inverse: of the error, and back.
    """

    name: str
    coefficients: tuple[str, ...]
    features: Features
    link: Callable[[np.ndarray], np.ndarray]
    inverse: Callable[[np.ndarray], np.ndarray]

    def fit(self, places: Places, errors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The coefficients (draws, coefficients) for errors (draws, cells) and weights (cells,)."""
        root = np.sqrt(weights)
        return self.link(errors) * root @ np.linalg.pinv(self._design(places) * root[:, np.newaxis]).T

    def refit(self, places: Places, errors: np.ndarray, weights: np.ndarray, _) -> np.ndarray:
        return self.fit(places, errors, weights)

    def predict(self, found: np.ndarray, places: Places) -> np.ndarray:
        """Errors (draws, cells)."""
        return self.inverse(found @ self._design(places).T)

    def is_at_bound(self, found: np.ndarray, errors: np.ndarray) -> np.ndarray:
        """Whether each draw's solution lies at a bound; nothing bounds this one."""
        return np.zeros(len(found), bool)

    def _design(self, places: Places) -> np.ndarray:
        return np.column_stack([np.ones(len(places)), self.features(places)])


@dataclasses.dataclass(frozen=True)
class Floor:
    """error = E + A exp(-(features @ exponents)), 0 <= E <= the smallest error, 0 <= exponents <= 5.

    Least squares on ln(error). E is a coefficient, not the best that can be reached.

    Attributes:
      coefficients: their names: E, A and the exponents.
      features: as many as there are exponents.
    """

    name: str
    coefficients: tuple[str, ...]
    features: Features

    def fit(self, places: Places, errors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """As `Linear.fit`: the best from nine starts within the bounds."""
        problems = self._problems(places, errors, weights)
        return np.stack([min(map(problem.solve, problem.starts()), key=problem.cost) for problem in problems])

    def refit(self, places: Places, errors: np.ndarray, weights: np.ndarray, start: np.ndarray) -> np.ndarray:
        """As `fit`, from one start (coefficients,), such as the fit to what the errors were drawn from."""
        return np.stack([problem.solve(start) for problem in self._problems(places, errors, weights)])

    def predict(self, found: np.ndarray, places: Places) -> np.ndarray:
        floor, scale, exponents = found[..., :1], found[..., 1:2], found[..., 2:]
        return floor + scale * np.exp(-exponents @ self.features(places).T)

    def is_at_bound(self, found: np.ndarray, errors: np.ndarray) -> np.ndarray:
        share, exponents = found[:, 0] / errors.min(1), found[:, 2:]
        return _is_at_bound(share, 1.0) | _is_at_bound(exponents, _STEEPEST).any(1)

    def _problems(self, places: Places, errors: np.ndarray, weights: np.ndarray) -> list["_Problem"]:
        x = self.features(places)
        return [_Problem(x, own, weights) for own in errors]


class _Problem:
    """Least squares on ln(model) - ln(error), times a scale, over (E, ln A, exponents)."""

    def __init__(self, x: np.ndarray, errors: np.ndarray, weights: np.ndarray):
        self._x, self._errors = x, errors
        self._root = _SCALE * np.sqrt(weights)
        self._smallest = errors.min()
        self._low = np.r_[0.0, -np.inf, np.zeros(x.shape[1])]
        self._high = np.r_[self._smallest, np.inf, np.full(x.shape[1], _STEEPEST)]

    def starts(self) -> Iterator[np.ndarray]:
        """(E, A, exponents)."""
        for share, exponent in itertools.product(_FLOORS, _EXPONENTS):
            floor = share * self._smallest
            exponents = np.full(self._x.shape[1], exponent)
            scale = np.mean(np.log(self._errors - floor) + self._x @ exponents)
            yield np.r_[floor, np.exp(scale), exponents]

    def solve(self, start: np.ndarray) -> np.ndarray:
        """(E, A, exponents) from a start.

        Without bounds first, which is faster: what lies within them solves the bounded problem, too.
        """
        start = np.r_[start[0], np.log(start[1]), start[2:]]
        precise = {"ftol": _TOLERANCE, "xtol": _TOLERANCE, "gtol": _TOLERANCE}
        with np.errstate(all="ignore"):  # outside the bounds the error may be negative
            found, *_, flag = leastsq(
                self._residuals, start, Dfun=self._jacobian, full_output=True, maxfev=_PATIENCE, **precise
            )
        if flag not in _CONVERGED or not ((found > self._low) & (found < self._high)).all():
            bounds = (self._low, self._high)
            inside = np.clip(start, *bounds)
            found = least_squares(self._residuals, inside, self._jacobian, bounds, x_scale="jac", **precise).x
        return np.r_[found[0], np.exp(found[1]), found[2:]]

    def cost(self, found: np.ndarray) -> float:
        """The sum of squares of a solution as `solve` returns it."""
        return float((self._residuals(np.r_[found[0], np.log(found[1]), found[2:]]) ** 2).sum())

    def _residuals(self, at: np.ndarray) -> np.ndarray:
        return self._root * np.log((at[0] + self._power(at)) / self._errors)

    def _jacobian(self, at: np.ndarray) -> np.ndarray:
        power = self._power(at)
        by = np.column_stack([np.ones_like(power), power, -power[:, np.newaxis] * self._x])
        return by * (self._root / (at[0] + power))[:, np.newaxis]

    def _power(self, at: np.ndarray) -> np.ndarray:
        return np.exp(at[1] - self._x @ at[2:])


Form = Linear | Floor


def forms(axes: Sequence[str]) -> tuple[Form, ...]:
    """The forms over the axes that have more than one level, from the richest on.

    `logit_quadratic` predicts best inside a grid; `power_with_floor` has exponents to quote; the others are baselines.
    """
    linear = functools.partial(_logs, axes=axes)
    exponents = tuple(_EXPONENT_OF[axis] for axis in axes)
    pairs = itertools.combinations_with_replacement(axes, 2)
    quadratic = ("constant", *map(_LOG_OF.get, axes), *(f"{_LOG_OF[a]} {_LOG_OF[b]}" for a, b in pairs))
    return (
        Linear("logit_quadratic", quadratic, functools.partial(_quadratic, axes=axes), logit, expit),
        Floor("power_with_floor", ("E", "A", *exponents), linear),
        Linear("log_linear", ("constant", *map(_LOG_OF.get, axes)), linear, np.log, np.exp),
        Floor("mult_adds_power", ("E", "A", "b"), lambda places: places.mult_adds[:, np.newaxis]),
    )


def _logs(places: Places, axes: Sequence[str]) -> np.ndarray:
    return np.stack([getattr(places, axis) for axis in axes], axis=1) if axes else np.empty((len(places), 0))


def _quadratic(places: Places, axes: Sequence[str]) -> np.ndarray:
    logs = _logs(places, axes)
    pairs = itertools.combinations_with_replacement(range(len(axes)), 2)
    return np.column_stack([logs, *(logs[:, i] * logs[:, j] for i, j in pairs)])


def _is_at_bound(values: np.ndarray, high: float) -> np.ndarray:
    return (values < _AT_BOUND * high) | (values > (1 - _AT_BOUND) * high)
