"""Who looks how: over every field that can be swept, no two trials look the same, and what is ordered looks ordered."""

import itertools
import tempfile

import matplotlib.colors
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnet_jax.config.fields import FIELDS
from mnet_jax.report.multiples import multiples
from mnet_jax.report.points import points, values
from mnet_jax.report.styles import Styles
from mnet_jax.workdir import results
from tests.every_field import CONFIGS, another, flat_of
from tests.finished import changed, finish
from tests.report.rows import product, row_of

_ALPHAS = tuple(i / 10 for i in range(10, 0, -1))
_RATES = tuple(i / 100 for i in range(1, 11))


def looks(rows, field="mult_adds"):
    """What is drawn of each point: its panel, colour and marker, and of its line the words and the dash.

    A marker whose values are written counts as its value, where none other stands at its cost on its line.
    """
    for panels in multiples(points(rows), field):
        groups = panels
    styles = Styles([own for _, own in groups])
    for i, (panel, own) in enumerate(groups):
        for line in styles.lines(i, own, field):
            for point in line:
                column = styles.roles(i, point.get("model")).marker
                marker = styles.marker(i, point)
                if styles.is_spelled(column):
                    same = (field, "model", *styles.roles(i, point.get("model")).on_one_line)
                    here = {p.get(column) for p in own if values(p, same) == values(point, same)}
                    marker = here.pop() if len(here) == 1 else None
                dash = styles.dash(i, point) if len(line) > 1 else None
                yield panel, styles.color(i, point), marker, styles.text(i, line), dash


_VALUES = {
    "model": ("mobilenet_v1", "nets.py:Net", "others.py:Net"),
    "alpha": _ALPHAS,
    "input_size": (28, 24, 20, 16),
    "model.width": (8, 16, 32),
    "model.act": ("relu", "swish", None),
    "model.deep": (True, False),
    "optim.learning_rate": _RATES,
    "optim.weight_decay": _RATES,
    "optim.name": ("sgd", "adamw"),
    "epochs": (2.0, 4.0),
    "data.mean": ((0.5,), (0.25, 0.5)),
    "dataset": ("mnist5k", "cifar10"),
    "train.init_from": ("a/w.h5", "b/w.h5", "a/b/w.h5", None),
}


@given(st.data())
def test_whatever_is_swept_no_two_points_look_the_same(data):
    swept = data.draw(st.lists(st.sampled_from(sorted(_VALUES)), min_size=1, max_size=4, unique=True))
    axes = {key: data.draw(st.lists(st.sampled_from(_VALUES[key]), min_size=1, unique=True)) for key in swept}
    cells = list(itertools.islice(itertools.product(*axes.values()), 100))
    kept = data.draw(st.lists(st.sampled_from(cells), min_size=1, unique=True)) if data.draw(st.booleans()) else cells
    rows = [row_of(i, **dict(zip(axes, cell, strict=True))) for i, cell in enumerate(kept)]
    assert len(points(rows)) == len(rows)
    for field in ("mult_adds", "params"):
        assert len(set(looks(rows, field))) == len(rows)


_BASES = {name: flat_of(config) for name, config in CONFIGS.items()}
_EFFECTIVE = [
    (name, field)
    for name, flat in _BASES.items()
    for field in FIELDS
    if field.has_effect(flat) and field.key not in results.SEEDS
]


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_trials_that_differ_in_any_fields_of_their_configs_look_different(data):
    """From resolved configs through the files of a workdir."""
    base = data.draw(st.sampled_from(sorted(CONFIGS)))
    fields = [field for name, field in _EFFECTIVE if name == base]
    configs = [CONFIGS[base], changed(CONFIGS[base], "model.alpha", 0.5)]
    for field in data.draw(st.lists(st.sampled_from(fields), max_size=3, unique=True)):
        second = another(field, _BASES[base][field.key])
        configs += [changed(config, field.key, second) for config in configs]
    with tempfile.TemporaryDirectory() as folder:
        rows = results.collect(finish(folder, configs))
    assert len(points(rows)) == len(points({row["replicate"]: row for row in rows}.values()))
    assert len(set(looks(rows))) == len({row["replicate"] for row in rows})


GRIDS = {
    "alphas and sizes": product(alpha=_ALPHAS, input_size=range(10, 30, 2)),
    "two numbers": product(optim__learning_rate=_RATES, optim__weight_decay=_RATES),
    "alphas, sizes and rates": product(alpha=_ALPHAS, input_size=(28, 24), optim__learning_rate=_RATES),
    "networks": product(model=[f"net{i}.py:Net" for i in range(12)], alpha=(None,), model__width=(8, 16)),
    "words": product(alpha=(1.0, 0.5), data__train_split=[f"train[:{i}]" for i in range(20)]),
}


@pytest.mark.parametrize("rows", GRIDS.values(), ids=GRIDS)
def test_large_grids_repeat_no_look(rows):
    assert len(set(looks(rows))) == len(rows)


@pytest.mark.parametrize("rows", GRIDS.values(), ids=GRIDS)
def test_no_two_entries_of_a_legend_look_or_read_the_same(rows):
    styles = Styles([points(rows)])
    handles = styles.handles(0, points(rows))
    assert len({handle.get_label() for handle in handles}) == len(handles)
    assert len({(h.get_color(), h.get_marker(), str(h._dash_pattern)) for h in handles}) == len(handles)


def lab(color):
    """CIELAB of a colour, of which the first is its lightness from 0 to 100."""
    rgb = np.array(matplotlib.colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = [(0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)]
    x, y, z = np.cbrt(np.maximum(np.array(matrix) @ linear / (0.9505, 1, 1.089), 0.00886))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("count", [2, 3, 4, 8, 10])
def test_a_number_has_colours_from_dark_to_light_that_differ(count):
    """Those of three networks, each with an option of its own, have a scale each."""
    keys = ("a", "b", "c")
    rows = [
        row_of(alpha=alpha, model=key, **{f"model.{key}": i})
        for key in keys
        for alpha in (1, 0.5)
        for i in range(count)
    ]
    styles = Styles([points(rows)])
    assert list(styles.colors) == [f"model.{key}" for key in keys]
    for colors in styles.colors.values():
        assert list(colors) == [*range(count)][::-1]
        found = np.array([lab(color) for color in colors.values()])
        assert (np.diff(found[:, 0]) > 0).all(), "the larger, the darker"
        assert found[-1, 0] < 85, "visible on white"
        assert np.linalg.norm(np.diff(found, axis=0), axis=1).min() > 5, "about twice what is just noticeable"
    assert not styles.alike()


def test_shades_that_nobody_tells_apart_are_named():
    rows = product(alpha=(1.0, 0.5), optim__learning_rate=[i / 100 for i in range(1, 12)])
    assert Styles([points(rows)]).alike() == ["optim.learning_rate"]


def test_no_number_among_numbers_is_grey():
    styles = Styles([points(product(alpha=(1.0, 0.5), data__cache_side=(None, 64, 128, 256)))])
    assert styles.colors["data.cache_side"][None] == "0.6"
    assert styles.colors["data.cache_side"] == Styles(
        [points(product(alpha=(1.0, 0.5), data__cache_side=(64, 128, 256)))]
    ).colors["data.cache_side"] | {None: "0.6"}
