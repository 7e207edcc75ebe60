"""The law on the plot: a curve for each input size where there is a law, over Mult-Adds alone."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from mnet_jax.report import findings, plots
from mnet_jax.workdir import results
from mnet_jax.workdir.files import Workdir
from tests.report.grids import grid, smooth
from tests.report.test_plots import legend_of, note_of

ALPHAS, SIZES = (1.0, 0.75, 0.5, 0.25), (28, 24, 20)


@pytest.fixture
def drawn_with_law(tmp_path, monkeypatch):
    """Draws rows with their laws and returns the figures, the one over Mult-Adds first."""
    saved = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: saved.append(self))

    def draw(rows):
        columns = dict.fromkeys(key for row in rows for key in row)
        results.write(Workdir(tmp_path), [dict.fromkeys(columns) | row for row in rows])
        plots.draw(Workdir(tmp_path), findings.find(rows))
        return saved

    return draw


def curves_of(axes):
    return [line for line in axes.lines if len(line.get_xdata()) > 20]


def test_a_grid_has_a_curve_and_a_band_for_each_input_size_in_its_colour(drawn_with_law):
    over_mult_adds, over_params = drawn_with_law(grid(ALPHAS, SIZES, (0, 1, 2), spread=0.002))
    (axes,) = over_mult_adds.axes
    curves = curves_of(axes)
    assert len(curves) == len(axes.collections) - 12 == 3, "beside 12 error bars"
    assert len({curve.get_color() for curve in curves}) == 3
    assert legend_of(over_mult_adds)[:3] == [f"input size {size}" for size in SIZES]
    for curve, size in zip(curves, SIZES, strict=True):
        costs, top1 = curve.get_xdata(), curve.get_ydata()
        assert costs[[0, -1]] == pytest.approx([1e7 * (alpha * size / 28) ** 2 for alpha in (0.25, 1.0)], rel=1e-5)
        assert top1[[0, -1]] == pytest.approx([100 * smooth(alpha, size) for alpha in (0.25, 1.0)], abs=0.3)
        assert (np.diff(top1) > 0).all()
    assert "Curves: the law, logit_quadratic (misses cells left out by 0." in note_of(over_mult_adds)
    assert "Bands: 95%, of seeds only, on this test set." in note_of(over_mult_adds)
    assert curves_of(over_params.axes[0]) == []
    assert "law" not in note_of(over_params)


def test_one_seed_has_a_curve_without_a_band(drawn_with_law):
    figure = drawn_with_law(grid(ALPHAS, SIZES))[0]
    assert len(curves_of(figure.axes[0])) == 3
    assert "Bands" not in note_of(figure)


def test_where_nothing_is_fitted_lines_join_the_points(drawn_with_law):
    figure = drawn_with_law(grid((1.0, 0.5), (28, 20)))[0]
    assert curves_of(figure.axes[0]) == []
    assert [len(line.get_xdata()) for line in figure.axes[0].lines if line.get_linestyle() == "-"].count(2) >= 2
    assert "law" not in note_of(figure)


def test_each_recipe_follows_its_own_law(drawn_with_law):
    rows = [
        own | {"trial": f"{own['trial']},{rate}"}
        for rate, better in ((0.1, 0.0), (0.2, 0.01))
        for own in grid(ALPHAS, SIZES, top1=lambda a, s, b=better: smooth(a, s) + b, **{"optim.learning_rate": rate})
    ]
    figure = drawn_with_law(rows)[0]
    curves = [curve for axes in figure.axes for curve in curves_of(axes)]
    assert len(curves) == 6
    assert len({round(float(curve.get_ydata()[-1]), 2) for curve in curves}) == 6


def test_a_curve_is_as_wide_as_the_axes(drawn_with_law):
    """The band is within the picture, too."""
    figure = drawn_with_law(grid(ALPHAS, SIZES, (0, 1), spread=0.02))[0]
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    paths = [path for band in axes.collections for path in band.get_paths()]
    heights = np.concatenate([path.vertices[:, 1] for path in paths])
    assert low < heights.min() < heights.max() < high
