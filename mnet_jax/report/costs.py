"""Mult-Adds between the cells that were counted, and where the grid ends."""

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import QhullError

from mnet_jax.report.cells import Family


class Costs:
    """The Mult-Adds of a family's networks, in between linear in the logarithms of alpha, input size and Mult-Adds.

    The grid reaches as far as the hull of its cells: beyond, nothing is interpolated.
    """

    def __init__(self, family: Family):
        self._family = family
        places = family.places
        self._known = np.array([[getattr(places, axis) for axis in family.axes]]).reshape(len(family.axes), -1).T
        self._logs = np.log([float(cell.mult_adds) for cell in family.cells])
        self._surface = None
        if len(family.axes) == 2:
            try:
                self._surface = LinearNDInterpolator(self._known, self._logs)
            except QhullError:  # all cells on one line
                self._surface = None

    def between(self, alphas, sizes) -> np.ndarray:
        """Mult-Adds at some alphas and input sizes, each (places,); NaN outside the grid."""
        asked = self._family.place(alphas, sizes, [np.nan] * len(sizes))
        at = np.stack([getattr(asked, axis) for axis in self._family.axes], axis=1)
        if at.shape[1] == 1:
            order = np.argsort(self._known[:, 0])
            return np.exp(np.interp(at[:, 0], self._known[order, 0], self._logs[order], np.nan, np.nan))
        if self._surface is None:
            return np.full(len(at), np.nan)
        return np.exp(self._surface(at))
