"""Intervals hold what they should; `python -m tests.coverage` has more draws, noises and forms."""

import pytest

from tests import coverage


@pytest.mark.parametrize("truth", coverage.TRUTHS)
def test_the_quadratics_intervals_hold_a_cell_that_was_left_out(truth):
    """Its accuracy on new images, at a corner and within, in 200 sweeps of 3 seeds; nominal 95%."""
    found = coverage.coverage(truth, seed_sd=0.003, names=("logit_quadratic",), draws=200)
    assert ((found >= 0.90) & (found <= 0.98)).all(), found


def test_a_form_that_is_wrong_is_not_covered():
    """No bootstrap repairs it: that is what the test above could fail by."""
    found = coverage.coverage("logit_quadratic", seed_sd=0.003, num_sweeps=60, names=("log_linear",), draws=100)
    assert (found < 0.8).all(), found
