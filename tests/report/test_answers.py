"""Predictions and budgets, against what was counted and what the law says."""

import numpy as np
import pytest

from mnet_jax.report.answers import best, predict
from mnet_jax.report.cells import families
from mnet_jax.report.costs import Costs
from mnet_jax.report.law import fit_law
from tests.report.grids import grid, published_family, smooth


@pytest.fixture(scope="module")
def v1():
    return fit_law(published_family("mobilenet_v1"))


def law_of(rows):
    return fit_law(families(rows)[0])


def test_interpolated_mult_adds_are_near_the_counted_ones(v1):
    """Each inner cell from its neighbours alone; a pure power of alpha and size has no error at all."""
    family = v1.family
    for i, cell in enumerate(family.cells):
        found = float(Costs(family.without(i)).between([cell.alpha], [cell.input_size])[0])
        is_inner = 0.25 < cell.alpha < 1 and 128 < cell.input_size < 224
        assert not is_inner or found == pytest.approx(cell.mult_adds, rel=0.06), cell.label
        exact = float(Costs(family).between([cell.alpha], [cell.input_size])[0])
        assert exact == pytest.approx(cell.mult_adds), "at a cell it is what was counted"


def test_nothing_is_interpolated_beyond_the_hull(v1):
    costs = Costs(v1.family).between([1.1, 0.2, 0.5, 0.5, 0.6], [224, 224, 240, 120, 176])
    assert np.isnan(costs).tolist() == [True, True, True, True, False]


def test_a_missing_corner_is_outside():
    """V2 was published without alpha 0.35 at 96 pixels."""
    family = published_family("mobilenet_v2")
    answer = predict(fit_law(family), 0.36, 97)
    assert answer.is_outside
    assert answer.fit.name == "power_with_floor"
    assert answer.mult_adds is None


def test_a_prediction_inside_is_the_quadratics(v1):
    answer = predict(v1, 0.6, 176)
    assert (answer.fit.name, answer.is_outside, answer.is_counted) == ("logit_quadratic", False, False)
    assert 0.617 < answer.score < 0.653, "between alpha 0.5 at 192 and alpha 0.75 at 160"
    assert answer.interval is None
    assert predict(v1, 0.5, 192).is_counted


def test_the_law_answers_for_a_cell_as_well_as_its_misses_say(v1):
    for cell in v1.family.cells:
        assert predict(v1, cell.alpha, cell.input_size).score == pytest.approx(cell.mean, abs=0.006)


def test_the_compound_optimum_of_v1_is_the_known_one(v1):
    """ln alpha = 0.12 + 1.34 ln rho for a cost of alpha^2 rho^2: alpha 0.72 at 160 pixels."""
    cost = float(Costs(v1.family).between([0.72], [160])[0])
    found = best(v1, cost).compound
    alpha, size = (float(part.partition("=")[2]) for part in found.label.split(","))
    assert alpha == pytest.approx(0.72, abs=0.05)
    assert size == pytest.approx(160, abs=8)
    assert found.mult_adds <= cost * (1 + 1e-9)


def test_the_best_cell_is_the_most_accurate_that_is_affordable(v1):
    answer = best(v1, 110e6)
    assert answer.cell.label == "alpha=0.75,input_size=128"
    assert answer.compound.score > answer.cell.mean - 0.002
    assert not answer.is_outside
    assert len(answer.rivals) == 7, "with one seed any other that is affordable"


def test_a_budget_of_just_the_cheapest_cell_has_it():
    rows = grid((1.0, 0.75, 0.5), (28, 24, 20))
    answer = best(law_of(rows), min(row["mult_adds"] for row in rows))
    assert answer.cell.label == answer.compound.label == "alpha=0.5,input_size=20"
    assert answer.compound.is_counted


def test_beyond_the_grid_only_the_mult_adds_power_speaks(v1):
    answer = best(v1, 2e9)
    top1, fit = answer.beyond
    assert fit.name == "mult_adds_power"
    assert top1 > answer.cell.mean
    assert answer.compound.mult_adds <= v1.family.cells[0].mult_adds


def test_straight_forms_have_no_compound_optimum():
    answer = best(law_of(grid((1.0, 0.5), (28, 24, 20, 16))), 5e6)
    assert answer.compound is None
    assert answer.cell is not None


def test_of_three_seeds_the_interval_holds_the_truth():
    rows = grid((1.0, 0.75, 0.5, 0.25), (28, 24, 20, 16), (0, 1, 2), spread=0.004)
    answer = predict(law_of(rows), 0.6, 22)
    low, high = answer.interval
    assert low < smooth(0.6, 22) < high
    assert high - low < 0.01
