"""What the pictures show: a reader must be able to tell from them which trial a point is."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from mnet_jax.report import plots
from mnet_jax.report.points import Point, names, points
from mnet_jax.report.styles import Styles
from mnet_jax.workdir import results
from mnet_jax.workdir.files import Workdir


def row_of(i=0, **own):
    own = {key.replace("__", "."): value for key, value in own.items()}
    row = dict.fromkeys(results.COLUMNS) | {"trial": f"trial-{i}", "status": "done", "model": "mobilenet_v1"}
    row |= {"alpha": 1.0, "input_size": 28, "seed": 0, "epochs": 3.0, "dataset": "mnist5k", "test_images": 1000}
    row |= own
    size, width = row["input_size"], own.get("model.width", (row["alpha"] or 1) * 32)
    row |= {"mult_adds": int(width**2 * size**2 * own.get("model.depth", 1)), "params": int(width**2 * 100)}
    row |= {"top1": 0.5 + i % 97 / 300, "top5": 1.0, "loss": 0.5, "steps": 10}
    return row | {"replicate": repr(sorted((k, repr(v)) for k, v in own.items() if k not in results.SEEDS))}


def product(**values):
    names_, axes = zip(*values.items(), strict=True)
    return [row_of(i, **dict(zip(names_, cell, strict=True))) for i, cell in enumerate(itertools.product(*axes))]


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws rows and returns the figures, the one over Mult-Adds first."""
    saved = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: saved.append(self))

    def draw(rows):
        workdir = Workdir(tmp_path)
        columns = dict.fromkeys(key for row in rows for key in row)
        results.write(workdir, [dict.fromkeys(columns) | row for row in rows])
        saved.clear()
        plots.draw(workdir)
        return list(saved)

    return draw


def legend_of(figure):
    (legend,) = [ax.get_legend() for ax in figure.axes if ax.get_legend()] or figure.legends
    return [text.get_text() for text in legend.get_texts()]


def texts_of(axes):
    return [text.get_text() for text in axes.texts if text.get_text()]


def joined(axes):
    """The lines through points: their colours and what they join."""
    return [(line.get_color(), len(line.get_xdata())) for line in axes.lines if line.get_linestyle() != "None"]


def test_a_grid_has_a_line_per_size_a_marker_per_alpha_and_grey_lines_across(drawn):
    figure, over_params = drawn(product(alpha=(1.0, 0.5), input_size=(28, 16)))
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert "Mult-Adds" in axes.get_xlabel()
    assert "%" in axes.get_ylabel()
    assert axes.get_title() == "mobilenet_v1 on mnist5k (1,000 test images), 3 epochs"
    assert legend_of(figure) == ["input size 28", "input size 16", "alpha 1", "alpha 0.5"]
    colors = [color for color, count in joined(axes) if count == 2]
    assert colors.count("0.8") == 2
    assert len(set(colors)) == 3
    assert "0.8" not in [color for color, _ in joined(over_params.axes[0])], (
        "the size leaves the parameters as they are"
    )


def test_points_stand_where_cost_and_accuracy_say(drawn):
    rows = product(alpha=(1.0, 0.5))
    (axes,) = drawn(rows)[0].axes
    found = sorted((bar.lines[0].get_xdata()[0], round(bar.lines[0].get_ydata()[0], 6)) for bar in axes.containers)
    assert found == sorted((row["mult_adds"], round(100 * row["top1"], 6)) for row in rows)
    low, high = axes.get_ylim()
    assert low < found[0][1] < found[1][1] < high or low < found[1][1] < found[0][1] < high


def test_a_width_sweep_is_one_line_with_a_marker_per_alpha(drawn):
    figure = drawn(product(alpha=(1.0, 0.75, 0.5)))[0]
    assert legend_of(figure) == ["alpha 1", "alpha 0.75", "alpha 0.5"]
    assert [count for _, count in joined(figure.axes[0])] == [3]


def test_seeds_become_a_mean_with_an_error_bar(drawn):
    figure = drawn(product(alpha=(1.0, 0.5), seed=(0, 1, 2)))[0]
    (axes,) = figure.axes
    assert [bar.has_yerr for bar in axes.containers] == [True, True]
    assert (axes.lines[-1].get_xdata()).size in (1, 2)
    assert "standard deviation" in figure._supxlabel.get_text()


def test_alpha_by_learning_rate_is_a_line_per_rate(drawn):
    """The README's example once drew equal, unlabelled lines."""
    figure = drawn(product(alpha=(1.0, 0.5), optim__learning_rate=(0.2, 0.05)))[0]
    assert legend_of(figure) == ["learning rate 0.2", "learning rate 0.05", "alpha 1", "alpha 0.5"]
    assert len({color for color, _ in joined(figure.axes[0])}) == 2


def test_a_third_setting_is_the_dash_where_one_network_is_alone(drawn):
    figure = drawn(product(alpha=(1.0, 0.5), optim__learning_rate=(0.2, 0.05), data__flip=(True, False)))[0]
    assert {"flip True", "flip False"} | {"learning rate 0.2", "learning rate 0.05"} < set(legend_of(figure))
    assert (
        len({(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines if len(line.get_xdata()) > 1})
        == 4
    )


def test_a_network_of_ones_own_stands_beside_another_each_with_its_own_options(drawn):
    own = product(model=("nets.py:Net",), alpha=(None,), model__width=(8, 16, 32), model__depth=(1, 2))
    figure = drawn([*own, *product(alpha=(1.0, 0.5))])[0]
    legend = legend_of(figure)
    assert legend[:2] == ["Net", "mobilenet_v1"]
    assert legend[2:] == ["depth 2", "depth 1", "width 32", "width 16", "width 8", "alpha 1", "alpha 0.5"]
    markers = [line.get_marker() for line in figure.axes[0].get_legend().get_lines()[4:]]
    assert len(set(markers)) == 5, "an alpha does not look like a width"
    assert sorted(count for color, count in joined(figure.axes[0]) if color != "0.8") == [2, 3, 3]


def test_an_ablation_names_what_departs_and_says_what_the_others_are(drawn):
    changes = [{}, {"model__separable": False}, {"model__shallow": True}, {"alpha": 0.375}]
    rows = [row_of(i, **{"model__separable": True, "model__shallow": False} | own) for i, own in enumerate(changes)]
    figure = drawn(rows)[0]
    assert texts_of(figure.axes[0]) == ["separable False", "shallow True"]
    assert "Where nothing else is written: separable True, shallow False." in figure._supxlabel.get_text()


def test_options_of_a_table_of_an_earlier_version_are_written_beside_their_points(drawn):
    rows = [row_of(0), row_of(1, options="residual=False")]
    for row in rows:
        del row["replicate"]
    (axes,) = drawn(rows)[0].axes
    assert len(axes.containers) == 2
    assert texts_of(axes) == ["residual=False"]


def test_ten_sizes_by_ten_alphas_have_a_colour_bar_and_written_alphas(drawn):
    figure = drawn(product(alpha=[i / 10 for i in range(1, 11)], input_size=range(10, 30, 2)))[0]
    axes, bar = figure.axes
    assert bar.get_ylabel() == "input size"
    assert [label.get_text() for label in bar.get_yticklabels()] == [str(size) for size in range(10, 30, 2)]
    said = texts_of(axes)
    assert sorted(said) == sorted(["alpha 0.1", *(f"{i / 10:g}" for i in range(2, 10)), "alpha 1"])
    assert len({color for color, count in joined(axes) if color != "0.8"}) == 10


def test_four_sizes_have_the_colours_of_an_ordered_scale():
    styles = Styles([points(product(input_size=(28, 24, 20, 16)))])
    sizes = styles.colors["input_size"]
    lightness = [sum(c * w for c, w in zip(sizes[size], (0.3, 0.59, 0.11), strict=False)) for size in (28, 24, 20, 16)]
    assert lightness == sorted(lightness), "the larger, the darker"
    assert lightness[-1] < 0.8, "visible on white"


CROWDS = {
    "ablation": [row_of(j, **{f"model__option{k}": k == j for k in range(8)}) for j in range(9)],
    "rates": product(optim__learning_rate=(0.1, 0.2, 0.3), optim__weight_decay=[i / 1e4 for i in range(1, 10)]),
    "grid": product(
        alpha=(1.0, 0.5), model__act=("relu", "swish"), model__depth=(1, 2, 3), input_size=(28, 24, 20, 16)
    ),
}


def test_many_lines_that_need_words_become_small_multiples(drawn):
    figure = drawn(CROWDS["grid"])[0]
    assert [axes.get_title() for axes in figure.axes] == ["depth 3", "depth 2", "depth 1"]
    assert [len(axes.containers) for axes in figure.axes] == [16, 16, 16]
    assert len({axes.get_xlim() for axes in figure.axes}) == len({axes.get_ylim() for axes in figure.axes}) == 1
    assert "mobilenet_v1 on mnist5k" in figure._suptitle.get_text()
    assert {"act relu", "act swish", "alpha 1", "input size 16"} < set(legend_of(figure))


@pytest.mark.parametrize("rows", CROWDS.values(), ids=CROWDS)
def test_labels_cover_neither_each_other_nor_points_nor_the_legend(drawn, rows):
    for figure in drawn(rows):
        axes = figure.axes[0]
        boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
        assert not [1 for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]
        legends = [*figure.legends, *filter(None, [axes.get_legend()])]
        assert not [1 for box in boxes for legend in legends if box.overlaps(legend.get_window_extent())]
        assert all(
            axes.get_window_extent().padded(1).contains(*corner) for box in boxes for corner in (box.min, box.max)
        )
        figure.draw_without_rendering()
        again = [text.get_window_extent() for text in axes.texts if text.get_text()]
        assert [box.bounds for box in again] == [pytest.approx(box.bounds) for box in boxes], "nothing moves when saved"


def test_the_legend_covers_no_point(drawn):
    for figure in drawn(product(alpha=(1.0, 0.5, 0.25), input_size=(28, 24, 20, 16), seed=(0, 40))):
        (axes,) = figure.axes
        places = [
            axes.transData.transform((bar.lines[0].get_xdata()[0], bar.lines[0].get_ydata()[0]))
            for bar in axes.containers
        ]
        legends = [*figure.legends, *filter(None, [axes.get_legend()])]
        assert not [1 for place in places for legend in legends if legend.get_window_extent().contains(*place)]


_SETTINGS = {
    "model": ("mobilenet_v1", "nets.py:Net"),
    "alpha": (1.0, 0.5, 0.25),
    "input_size": (28, 24, 20, 16),
    "model.width": (8, 16, 32),
    "model.act": ("relu", "swish", None),
    "optim.learning_rate": (0.1, 0.2),
    "optim.name": ("sgd", "adamw"),
    "epochs": (2.0, 4.0),
    "data.mean": ((0.5,), (0.25, 0.5)),
    "dataset": ("mnist5k", "cifar10"),
}


@given(st.data())
def test_whatever_is_swept_no_two_points_look_the_same(data):
    swept = data.draw(st.lists(st.sampled_from(sorted(_SETTINGS)), min_size=1, max_size=4, unique=True))
    axes = {key: data.draw(st.lists(st.sampled_from(_SETTINGS[key]), min_size=1, unique=True)) for key in swept}
    cells = list(itertools.product(*axes.values()))
    kept = data.draw(st.lists(st.sampled_from(cells), min_size=1, unique=True)) if data.draw(st.booleans()) else cells
    rows = [row_of(i, **dict(zip(axes, cell, strict=True))) for i, cell in enumerate(kept)]
    found = points(rows)
    assert len(found) == len(rows)
    styles = Styles([found])

    def look(point: Point, line):
        return (styles.color(0, point), styles.marker(0, point), styles.text(0, line))

    assert len({look(point, [point]) for point in found}) == len(found), "alone"
    on_a_line = {(*look(point, [point, point]), styles.dash(0, point)) for point in found}
    assert len(on_a_line) == len(found), "on lines"


@pytest.mark.parametrize("dataset", ["imagenet", "imagenet_validation", "imagenet2012:5.1.0"])
def test_imagenet_stands_beside_the_papers_curve(drawn, dataset):
    figure = drawn([row | {"dataset": dataset} for row in product(model=("mobilenet_v2",), alpha=(1.0, 0.5))])[0]
    ours, published = figure.axes
    assert "published" in published.get_title()
    top = max(bar.lines[0].get_ydata()[0] for bar in published.containers)
    assert top == pytest.approx(71.8)
    assert ours.get_ylim() == published.get_ylim()
    assert figure._supxlabel is None, "nothing but the costs, alpha and the size is known of the papers' trials"
    assert ours.get_ylim()[0] < 52
    assert ours.get_ylim()[1] > 71.8


@pytest.mark.parametrize("dataset", ["imagenette/320px", "imagenet_v2/matched-frequency", "mnist5k"])
def test_no_imagenet_panel_stands_beside_other_data(drawn, dataset):
    figure = drawn([row | {"dataset": dataset} for row in product(alpha=(1.0, 0.5))])[0]
    assert len(figure.axes) == 1


def test_the_title_names_every_data_set(drawn):
    figure = drawn(product(dataset=("mnist5k", "cifar10"), alpha=(1.0, 0.5)))[0]
    assert "on mnist5k and cifar10" in figure.axes[0].get_title()


def test_what_varies_along_with_something_drawn_is_said(drawn):
    rows = [row_of(i, alpha=a, optim__learning_rate=rate) for i, (a, rate) in enumerate(((1.0, 0.1), (0.5, 0.2)))]
    assert "Varies along with what is shown: learning rate." in drawn(rows)[0]._supxlabel.get_text()


def test_trials_of_unknown_cost_are_counted_under_the_plot(drawn):
    rows = product(alpha=(1.0, 0.5, 0.25))
    rows[2] |= {"mult_adds": None, "params": None}
    figure = drawn(rows)[0]
    assert len(figure.axes[0].containers) == 2
    assert "Not drawn: 1 trial " in figure._supxlabel.get_text()


def test_unfinished_trials_are_not_drawn(drawn):
    assert drawn([row | {"status": "running"} for row in product(alpha=(1.0, 0.5))]) == []


def test_columns_are_called_by_the_last_part_of_their_key_where_that_is_clear():
    found = names(["alpha", "optim.learning_rate", "optim.name", "data.seed", "model.seed"])
    assert list(found.values()) == ["alpha", "learning rate", "optim name", "data seed", "model seed"]
