"""What the pictures show: a reader must be able to tell from them which trial a point is."""

import itertools

import numpy as np
import pytest
from matplotlib.text import Text

from tests.report.rows import product, row_of


def legend_in(figure):
    """The one legend, among the points or beside the panels."""
    (legend,) = [ax.get_legend() for ax in figure.axes if ax.get_legend()] or figure.legends
    return legend


def legend_of(figure):
    return [text.get_text() for text in legend_in(figure).get_texts()]


def texts_of(axes):
    return [text.get_text() for text in axes.texts if text.get_text()]


def note_of(figure):
    return figure._supxlabel.get_text().replace("\n", " ") if figure._supxlabel else ""


def corners_of(artist):
    box = artist.get_window_extent()
    return box.min, box.max


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


def test_of_a_cell_that_was_tuned_again_the_value_that_stands_is_drawn(drawn):
    """As after `--extend`: the trials at the value that was given up stay in the table."""
    rates = {1.0: (0.05,), 0.5: (0.05, 0.025)}
    rows = [
        row_of(i, alpha=alpha, seed=seed, optim__learning_rate=rate) | {"chosen": chosen}
        for i, (alpha, rate, chosen, seed) in enumerate(
            (alpha, rate, "optim.learning_rate" if rate == rates[alpha][-1] else None, seed)
            for alpha in rates
            for rate in rates[alpha]
            for seed in (0, 1)
        )
    ]
    figure, _ = drawn(rows)
    assert [count for _, count in joined(figure.axes[0])] == [2]
    assert sorted(bar.lines[0].get_xdata()[0] for bar in figure.axes[0].containers) == sorted(
        {row["mult_adds"] for row in rows}
    )
    assert "Not drawn: 2 trials at values that tuning gave up." in note_of(figure)
    figure, _ = drawn([row | {"chosen": None} for row in rows])
    assert "Not drawn" not in note_of(figure), "of a sweep that was not tuned all is drawn"


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


def bars_of(axes):
    """The half height, in points of accuracy, and the thickness of each error bar, by the accuracy."""
    found = {}
    for container in axes.containers:
        if container.has_yerr:
            (bar,) = container.lines[2]
            (low, high) = bar.get_segments()[0][:, 1]
            found[round((low + high) / 2, 6)] = ((high - low) / 2, bar.get_linewidth()[0])
    return found


def test_seeds_become_a_mean_with_their_standard_error(drawn):
    rows = product(alpha=(1.0, 0.5), seed=(0, 1, 2))
    rows = [row | {"top1": top1} for row, top1 in zip(rows, (0.7, 0.8, 0.9, 0.5, 0.5, 0.5), strict=True)]
    figure = drawn(rows)[0]
    halves = [half for half, _ in bars_of(figure.axes[0]).values()]
    expected = (10**2 / 2) ** 0.5 / 3**0.5
    assert halves == pytest.approx([expected] * 2), (
        "sds of 10 and 0 points pooled: seeds that agree by chance have a bar"
    )
    assert note_of(figure) == "Error bars: standard error over seeds, of a pooled sd."


def test_one_seed_has_a_thin_bar_of_the_test_images_and_the_note_says_so(drawn):
    rows = [*product(alpha=(1.0,), seed=(0, 1)), *product(alpha=(0.5,), seed=(0,))]
    rows = [row | {"top1": top1} for row, top1 in zip(rows, (0.8, 0.82, 0.5), strict=True)]
    figure = drawn(rows)[0]
    bars = bars_of(figure.axes[0])
    half, thin = bars[50.0]
    assert half == pytest.approx(100 * (0.5 * 0.5 / 1000) ** 0.5)
    assert thin < bars[81.0][1], "thinner than one of seeds"
    assert "Thin error bars: standard error of the test images alone, of one seed." in note_of(figure)


def test_an_accuracy_on_an_unknown_number_of_images_has_no_bar(drawn):
    figure = drawn([row | {"test_images": None} for row in product(alpha=(1.0, 0.5))])[0]
    assert bars_of(figure.axes[0]) == {}
    assert note_of(figure) == ""


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
    markers = [line.get_marker() for line in legend_in(figure).get_lines()[4:]]
    assert len(set(markers)) == 5, "an alpha does not look like a width"
    assert sorted(count for color, count in joined(figure.axes[0]) if color != "0.8") == [2, 3, 3]


def test_an_ablation_names_what_departs_and_says_what_the_others_are(drawn):
    changes = [{}, {"model__separable": False}, {"model__shallow": True}, {"alpha": 0.375}]
    rows = [row_of(i, **{"model__separable": True, "model__shallow": False} | own) for i, own in enumerate(changes)]
    figure = drawn(rows)[0]
    assert texts_of(figure.axes[0]) == ["separable False", "shallow True"]
    assert "Where nothing else is written: separable True, shallow False." in note_of(figure)


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


CROWDS = {
    "ablation": [row_of(j, **{f"model__option{k}": k == j for k in range(8)}) for j in range(9)],
    "rates": product(optim__learning_rate=(0.1, 0.2, 0.3), optim__weight_decay=[i / 1e4 for i in range(1, 10)]),
    "grid": product(
        alpha=(1.0, 0.5), model__act=("relu", "swish"), model__depth=(1, 2, 3), input_size=(28, 24, 20, 16)
    ),
    "long words": product(alpha=(1.0, 0.5), data__train_split=[f"train[:{i}]+validation[{i}:]" * 2 for i in range(13)]),
    "networks": product(model=[f"net{i}.py:Net" for i in range(12)], alpha=(None,), model__width=(8, 16)),
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
    for axes in (axes for figure in drawn(rows) for axes in figure.axes):
        figure = axes.figure
        boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
        assert not [1 for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]
        legends = [*figure.legends, *filter(None, [axes.get_legend()])]
        assert not [1 for box in boxes for legend in legends if box.overlaps(legend.get_window_extent())]
        assert all(
            axes.get_window_extent().padded(1).contains(*corner) for box in boxes for corner in (box.min, box.max)
        )
        assert all(figure.bbox.contains(*corner) for legend in legends for corner in corners_of(legend))
        figure.draw_without_rendering()
        again = [text.get_window_extent() for text in axes.texts if text.get_text()]
        assert [box.bounds for box in again] == [pytest.approx(box.bounds) for box in boxes], "nothing moves when saved"


def test_words_that_have_no_room_are_left_out_and_the_note_says_so(drawn):
    figure = drawn(product(data__train_split=[f"train[:{i}]" for i in range(80)]))[0]
    assert 20 < len(texts_of(figure.axes[0])) < 80
    assert "Labels that had no room are left out: results.csv has every trial." in note_of(figure)
    assert "no room" not in note_of(drawn(product(data__train_split=[f"train[:{i}]" for i in range(12)]))[0])


def test_words_without_room_become_panels_where_these_are_few_enough(drawn):
    rows = product(alpha=(1.0, 0.5), data__train_split=[f"{i}{'x' * 500}" for i in range(12)])
    figure = drawn(rows)[0]
    assert len(figure.axes) == 12
    assert "no room" not in note_of(figure)


def test_a_long_legend_makes_the_figure_larger(drawn):
    words = [f"{i}{'x' * 250}" for i in range(8)]
    figure = drawn(product(alpha=[i / 8 for i in range(1, 9)], model__act=words, data__flip=(True, False)))[0]
    (legend,) = figure.legends
    assert all(figure.bbox.contains(*corner) for corner in corners_of(legend))
    assert figure.axes[0].get_window_extent().width > 400
    assert len(legend.get_texts()) == 18


def test_shades_that_look_alike_are_said(drawn):
    rows = product(alpha=(1.0, 0.5), optim__learning_rate=[i / 100 for i in range(1, 31)])
    assert "Neighbouring colours of learning rate look alike: results.csv has every trial." in note_of(drawn(rows)[0])


def test_many_rates_at_two_sizes_have_the_scale_and_the_sizes_the_dash(drawn):
    rows = product(alpha=(1.0, 0.5), input_size=(28, 20), optim__learning_rate=[i / 100 for i in range(1, 11)])
    figure = drawn(rows)[0]
    assert figure.axes[1].get_ylabel() == "learning rate"
    assert legend_of(figure) == ["input size 28", "input size 20", "alpha 1", "alpha 0.5"]


def test_written_alphas_stand_at_every_cost_that_no_grey_line_leads_to(drawn):
    """Words are no steps of a number, so that no line joins them, though they change the cost."""
    rows = product(alpha=[i / 10 for i in range(1, 11)], model__depth=(1, 3))
    (axes,) = drawn([row | {"model.depth": f"{row['model.depth']} blocks"} for row in rows])[0].axes
    assert len(texts_of(axes)) == 20


def test_points_of_one_cost_and_accuracy_stand_side_by_side(drawn):
    rows = product(optim__learning_rate=(0.2, 0.1, 0.05), optim__name=("sgd", "adamw"))
    figure = drawn([row | {"top1": 0.9} for row in rows])[0]
    places = [
        bar.lines[0].get_transform().transform((rows[0]["mult_adds"], 90))[0] for bar in figure.axes[0].containers
    ]
    assert np.diff(sorted(places)).min() > 4
    assert "Points of one cost stand side by side." in note_of(figure)


def test_what_stands_in_values_is_written_as_it_is(drawn):
    figure = drawn(product(model=("a.py:_Net",), alpha=(1.0, 0.5), model__act=("$a_b$", r"$\frac{1", "", "模")))[0]
    assert legend_of(figure)[:4] == ["act $a_b$", r"act $\frac{1", "act ''", "act \\u6a21"]
    assert not [text for text in figure.findobj(Text) if text.get_parse_math() and "$" in text.get_text()]


def test_networks_of_one_name_and_of_a_private_one_are_in_the_legend(drawn):
    figure = drawn(product(model=("a.py:Net", "b.py:Net", "a.py:_Own"), alpha=(None,)))[0]
    assert legend_of(figure) == ["a.py:Net", "b.py:Net", " _Own"]


@pytest.mark.parametrize("decades", [0, 0.01, 0.5, 1, 2, 3, 4, 7, 10])
def test_the_ticks_of_the_cost_overprint_nothing(drawn, decades):
    rows = product(alpha=(1.0, 0.5))
    rows[0] |= {"mult_adds": 10**3}
    rows[1] |= {"mult_adds": int(10 ** (3 + decades))}
    (axes,) = (figure := drawn(rows)[0]).axes
    figure.draw_without_rendering()
    low, high = axes.get_xlim()
    boxes = [tick.label1.get_window_extent() for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert boxes
    assert not [1 for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]


def test_the_legend_covers_no_point(drawn):
    for figure in drawn(product(alpha=(1.0, 0.5, 0.25), input_size=(28, 24, 20, 16), seed=(0, 40))):
        (axes,) = figure.axes
        places = [
            axes.transData.transform((bar.lines[0].get_xdata()[0], bar.lines[0].get_ydata()[0]))
            for bar in axes.containers
        ]
        legends = [*figure.legends, *filter(None, [axes.get_legend()])]
        assert not [1 for place in places for legend in legends if legend.get_window_extent().contains(*place)]


@pytest.mark.parametrize("dataset", ["imagenet", "imagenet_validation", "imagenet2012:5.1.0"])
def test_imagenet_stands_beside_the_papers_curve(drawn, dataset):
    figure = drawn([row | {"dataset": dataset} for row in product(model=("mobilenet_v2",), alpha=(1.0, 0.5))])[0]
    ours, published = figure.axes
    assert "published" in published.get_title()
    top = max(bar.lines[0].get_ydata()[0] for bar in published.containers)
    assert top == pytest.approx(71.8)
    assert ours.get_ylim() == published.get_ylim()
    assert note_of(figure) == "Error bars: standard error of the test images alone, of one seed."
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
    assert "Varies along with what is shown: learning rate." in note_of(drawn(rows)[0])


def test_trials_of_unknown_cost_are_counted_under_the_plot(drawn):
    rows = product(alpha=(1.0, 0.5, 0.25))
    rows[2] |= {"mult_adds": None, "params": None}
    figure = drawn(rows)[0]
    assert len(figure.axes[0].containers) == 2
    assert "Not drawn: 1 trial of unknown cost or score." in note_of(figure)


def test_a_score_that_is_no_number_is_not_drawn(drawn):
    rows = product(alpha=(1.0, 0.5), seed=(0, 1))
    rows[0] |= {"top1": float("nan")}
    figure = drawn(rows)[0]
    assert len({width for _, width in bars_of(figure.axes[0]).values()}) == 2, "one seed is left at the first"
    assert "Not drawn: 1 trial of unknown cost or score." in note_of(figure)


def test_unfinished_trials_are_not_drawn(drawn):
    assert drawn([row | {"status": "running"} for row in product(alpha=(1.0, 0.5))]) == []
