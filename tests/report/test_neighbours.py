"""Who is told apart from whom, against the textbook, and how often wrongly."""

import numpy as np
import pytest
from scipy import stats

from mnet_jax.report.cells import families
from mnet_jax.report.findings import verdict
from mnet_jax.report.neighbours import front, holm, neighbours
from mnet_jax.report.noise import seed_noise
from tests.report.grids import grid, row, segmented


def family_of(rows, bits=None):
    (family,) = families(rows, bits)
    return family


def test_neighbours_differ_in_one_axis_by_one_level():
    rows = [row for row in grid((1.0, 0.5, 0.25), (28, 20)) if row["trial"] != "alpha=0.5,input_size=20,seed=0"]
    found = {(pair.a.label, pair.b.label) for pair in neighbours(family_of(rows))}
    assert found == {
        ("alpha=1.0,input_size=28", "alpha=0.5,input_size=28"),
        ("alpha=0.5,input_size=28", "alpha=0.25,input_size=28"),
        ("alpha=1.0,input_size=28", "alpha=1.0,input_size=20"),
        ("alpha=0.25,input_size=28", "alpha=0.25,input_size=20"),
    }, "no pair spans the cell that is not there"


def test_two_cells_are_compared_by_students_t():
    top1 = {1.0: (0.90, 0.91, 0.92), 0.5: (0.88, 0.90, 0.885)}
    rows = [
        row(alpha, 28, value, 10 * i + len(str(alpha))) for alpha, own in top1.items() for i, value in enumerate(own)
    ]
    (pair,) = neighbours(family_of(rows))
    expected = stats.ttest_ind(top1[1.0], top1[0.5])
    low, high = expected.confidence_interval()
    assert pair.gap == pytest.approx(np.mean(top1[1.0]) - np.mean(top1[0.5]))
    assert pair.half_width == pytest.approx((high - low) / 2)
    assert seed_noise(family_of(rows)).p_value(pair.a, pair.b) == pytest.approx(expected.pvalue)
    assert pair.is_told_apart == (expected.pvalue < 0.05)


def test_the_sentence_says_the_gap_its_interval_and_what_is_seen():
    rows = grid((1.0, 0.5), (28,), (0, 1, 2), lambda alpha, _: 0.9 + 0.003 * (alpha == 1), spread=0.003)
    for i, own in enumerate(rows):
        own["seed"] = i  # no seed in common
    (pair,) = neighbours(family_of(rows))
    assert pair.smallest_gap == pytest.approx((2.776 + 1.282) * 0.003 * (2 / 3) ** 0.5, rel=1e-3)
    assert verdict(pair) == "not told apart: 0.3 +- 0.7 points; this sweep sees gaps from 1.0"


def test_a_seed_effect_that_all_cells_share_is_taken_out_of_gaps():
    """Trials of one seed share their stream: here the seed moves every cell by the same."""
    noise = np.random.default_rng(0).normal(0, 0.0005, 18)
    rows = grid((1.0, 0.5, 0.25), (28, 20), (0, 1, 2), spread=0.01)
    rows = [own | {"top1": own["top1"] + luck} for own, luck in zip(rows, noise, strict=True)]
    found = seed_noise(family_of(rows))
    assert found.is_paired
    assert found.sd == pytest.approx(0.01, rel=0.1)
    assert found.sd_of_gaps == pytest.approx(0.0005, rel=0.5)
    assert found.df == 10
    for i, own in enumerate(rows):
        own["seed"] = i
    assert not seed_noise(family_of(rows)).is_paired, "cells of different seeds share nothing"


def test_one_seed_tells_nobody_apart_however_wide_the_gap():
    rows = grid((1.0, 0.5), (28,), top1=lambda alpha, _: 0.4 + 0.5 * (alpha == 1))
    family = family_of(rows)
    (pair,) = neighbours(family)
    assert (pair.half_width, pair.smallest_gap, pair.is_told_apart) == (None, None, False)
    assert verdict(pair) == "not told apart: 50.0 points, of one seed"
    assert front(family) == list(family.cells)


def test_bits_compare_two_checkpoints_on_the_same_images():
    rows = grid((1.0, 0.5), (28,), top1=lambda alpha, _: 0.9 if alpha == 1 else 0.85)
    order = np.arange(1000)
    bits = {own["trial"]: order < 1000 * own["top1"] for own in rows}
    (pair,) = neighbours(family_of(rows, bits))
    alone = 0.05 * 0.95  # 50 images in a thousand are judged differently, all in favour of one
    assert pair.of_checkpoints == pytest.approx(1.96 * (alone / 1000) ** 0.5, rel=1e-3)
    assert verdict(pair) == "not told apart: 5.0 points, of one seed; as these two checkpoints +- 1.4"


def test_shares_of_segmentations_compare_two_checkpoints():
    rows = segmented(grid((1.0, 0.5), (28,), top1=lambda alpha, _: 0.6 if alpha == 1 else 0.5))
    rng = np.random.default_rng(0)
    common, own = rng.normal(0, 0.3, 1000), rng.normal(0, 0.1, (2, 1000))
    shares = {row["trial"]: row["miou"] + common + noise for row, noise in zip(rows, own, strict=True)}
    (pair,) = neighbours(family_of(rows, shares))
    assert pair.gap == pytest.approx(0.1)
    assert pair.of_checkpoints == pytest.approx(1.96 * 0.1 * (2 / 1000) ** 0.5, rel=0.05), "what they share cancels"


def test_a_cell_is_beaten_only_by_one_that_is_no_dearer_and_told_apart():
    top1 = {1.0: 0.9, 0.75: 0.92, 0.5: 0.899}
    family = family_of(grid((1.0, 0.75, 0.5), (28,), (0, 1, 2), lambda alpha, _: top1[alpha], spread=0.001))
    assert [cell.label for cell in front(family)] == ["alpha=0.75,input_size=28", "alpha=0.5,input_size=28"]
    rows = grid((1.0, 0.75, 0.5), (28,), (0, 1, 2), lambda alpha, _: top1[alpha], spread=0.03)
    family = family_of([own | {"seed": i} for i, own in enumerate(rows)])
    assert len(front(family)) == 3, "nobody is told apart any more"


def test_holm_steps_down():
    """Against the step-down rule written as adjusted p-values."""
    p_values = np.random.default_rng(0).uniform(0, 0.4, 40) ** 4
    order = np.argsort(p_values)
    adjusted = np.empty(40)
    adjusted[order] = np.maximum.accumulate(p_values[order] * np.arange(40, 0, -1))
    assert holm(p_values) == (adjusted <= 0.05).tolist()
    assert 0 < sum(holm(p_values)) < 40
    assert holm([]) == []


def test_equal_cells_are_told_apart_in_at_most_5_percent_of_sweeps():
    """24 pairs of 16 equally good cells, three seeds: any false alarm among them counts."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        rows = grid((1.0, 0.75, 0.5, 0.25), (28, 24, 20, 16), (0, 1, 2), lambda *_: 0.9)
        rows = [own | {"top1": 0.9 + luck} for own, luck in zip(rows, rng.normal(0, 0.003, 48), strict=True)]
        alarms += any(pair.is_told_apart for pair in neighbours(family_of(rows)))
    assert alarms <= 20, "more than 5% of 200 and two standard errors"
