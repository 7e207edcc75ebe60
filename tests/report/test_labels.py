"""Where words go: within the axes, and over no marker, no other words and nothing taken; else they are left out."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mnet_jax.report.labels import Label, place


def clouded(seed):
    """Axes with random points; their places and labels, and a box that is taken."""
    random = np.random.default_rng(seed)
    figure = Figure(figsize=(random.uniform(4, 8), random.uniform(3, 6)))
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_xscale("log")
    count = int(random.integers(1, 60))
    spread = random.choice([0.02, 0.3, 3])
    x, y = 10 ** random.normal(7, spread, count), random.normal(80, spread, count)
    axes.plot(x, y, "o", markersize=7)
    figure.draw_without_rendering()
    places = [(a, b, float(random.choice([0, -6, 6]))) for a, b in zip(x, y, strict=True)]
    labels = [Label("\n".join(["x" * int(random.integers(1, 40))] * int(random.integers(1, 3))), at) for at in places]
    corner = np.array(axes.get_window_extent().min)
    return axes, labels, places, np.concatenate([corner, corner + np.array([90, 60])])


@pytest.mark.parametrize("seed", range(40))
def test_labels_overlap_nothing_and_stay_inside(seed):
    axes, labels, places, taken = clouded(seed)
    left_out = place(axes, labels, places, [places], [taken])
    axes.figure.draw_without_rendering()
    written = [text for text in axes.texts if text.get_text()]
    assert len(written) + left_out == len(labels)
    boxes = [text.get_window_extent() for text in written]
    assert not [1 for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]
    frame = axes.get_window_extent().padded(0.5)
    assert all(frame.contains(*corner) for box in boxes for corner in (box.min, box.max))
    markers = [axes.transData.transform((x, y)) + np.array([shift * axes.figure.dpi / 72, 0]) for x, y, shift in places]
    assert not [1 for box in boxes for marker in markers if box.contains(*marker)]
    assert not [1 for box in boxes if (box.max > taken[:2]).all() and (box.min < taken[2:]).all()]


def test_a_few_labels_have_room_and_stand_beside_their_points():
    axes, _, _, _ = clouded(0)
    places = [(10.0**i, 80.0, 0.0) for i in (6, 7, 8)]
    axes.set_xlim(1e5, 1e9)
    axes.set_ylim(70, 90)
    assert place(axes, [Label("act relu", at) for at in places], places, []) == 0
    assert [text.get_ha() for text in axes.texts] == ["left"] * 3
    assert [text.xyann for text in axes.texts] == [(7, 0)] * 3
    assert not [text for text in axes.texts if not text.get_text()], "no line leads to what is near"
