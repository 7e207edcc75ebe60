"""The law as curves over the Mult-Adds: one for each input size of a family, along alpha, with its band."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mnet_jax.report.costs import Costs
from mnet_jax.report.findings import Finding
from mnet_jax.report.law import Fit, Law
from mnet_jax.report.points import Point

_PLACES = 60  # of a curve


@dataclasses.dataclass(frozen=True)
class Curve:
    """Attributes:
    costs: Mult-Adds, (places,), of which only those of cells were counted.
    scores: fractions, (places,).
    band: 95%, fractions (2, places); None where nothing is known of the noise.
    fit: the form.
    law: that it belongs to.
    """

    costs: np.ndarray
    scores: np.ndarray
    band: np.ndarray | None
    fit: Fit
    law: Law


class Curves:
    """Finds the curve through points."""

    def __init__(self, findings: Sequence[Finding] = ()):
        self._laws = {
            name: finding.law for finding in findings for cell in finding.family.cells for name in cell.trials
        }

    def through(self, points: Sequence[Point]) -> Curve | None:
        """The law along alpha, from the smallest to the largest of the points.

        None where they are not cells of one family, of one input size and several alphas, or nothing is fitted.
        """
        laws = {id(law): law for law in (self._laws.get(point.get("trial")) for point in points)}
        if len(laws) != 1 or None in laws.values():
            return None
        (law,) = laws.values()
        alphas, sizes = ({point.get(axis) for point in points} for axis in ("alpha", "input_size"))
        if law.inside is None or len(sizes) > 1 or len(alphas) < 2 or len(alphas) < len(points):
            return None
        (size,) = sizes
        along = np.geomspace(min(alphas), max(alphas), _PLACES)
        costs = Costs(law.family).between(along, [size] * _PLACES)
        return self._curve(law, along, size, costs)

    def _curve(self, law: Law, alphas: np.ndarray, size: int, costs: np.ndarray) -> Curve | None:
        is_inside = np.isfinite(costs)
        if is_inside.sum() < 2:
            return None
        alphas, costs = alphas[is_inside], costs[is_inside]
        places = law.family.place(alphas, [size] * len(alphas), costs)
        return Curve(costs, law.inside.score(places), law.inside.interval(places), law.inside, law)
