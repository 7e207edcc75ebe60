"""Which rows are cells of one family, and which are left out, in words."""

import numpy as np
import pytest

from mnet_jax import presets
from mnet_jax.config.resolve import resolve
from mnet_jax.report.cells import families
from mnet_jax.workdir import results
from tests.finished import finish
from tests.report.grids import grid, row, segmented


def test_seeds_are_one_cell_and_axes_are_one_family():
    (family,) = families(grid((1.0, 0.5), (28, 20), (0, 1), spread=0.01))
    assert [(cell.alpha, cell.input_size, len(cell.scores)) for cell in family.cells] == [
        (1.0, 28, 2),
        (1.0, 20, 2),
        (0.5, 28, 2),
        (0.5, 20, 2),
    ]
    assert family.axes == ("alpha", "input_size")
    assert (family.name, family.left_out) == ("mobilenet_v1", ())


def test_recipes_are_never_mixed_and_say_how_they_differ():
    rows = grid((1.0, 0.5), (28,), epochs=2.0) + grid((1.0, 0.5, 0.25), (28,), epochs=8.0)
    short, long = families(rows)
    assert (short.name, len(short.cells), short.beside) == ("mobilenet_v1, epochs 2.0", 2, 3)
    assert (long.name, len(long.cells), long.beside) == ("mobilenet_v1, epochs 8.0", 3, 2)


def test_values_chosen_per_cell_tell_no_families_apart():
    rows = [row(alpha, 28, 0.9, **{"optim.learning_rate": rate}) for alpha, rate in ((1.0, 0.05), (0.5, 0.1))]
    assert len(families(rows)) == 2
    chosen = [own | {"chosen": "optim.learning_rate"} for own in rows]
    (family,) = families(chosen)
    assert [cell.alpha for cell in family.cells] == [1.0, 0.5]
    assert family.name == "mobilenet_v1"
    tuned = row(1.0, 28, None, seed=5, status="tuned", chosen=None, **{"optim.learning_rate": 0.2})
    assert len(families([*chosen, tuned])) == 1, "a row that only chose a value is no cell"


def test_a_field_with_a_short_column_may_be_chosen_too():
    rows = [row(alpha, 28, 0.9, epochs=epochs, chosen="train.epochs") for alpha, epochs in ((1.0, 2.0), (0.5, 4.0))]
    assert len(families(rows)) == 1


def test_imported_weights_are_one_family_whatever_file_each_comes_from():
    own = [{"train.init_from": f"{size}.h5", "data.image_size": size, "epochs": 0.0} for size in (28, 20)]
    assert len(families([row(1.0, 28, 0.9, **own[0]), row(1.0, 20, 0.8, **own[1])])) == 1
    fine_tuned = [values | {"epochs": 2.0} for values in own]
    assert len(families([row(1.0, 28, 0.9, **fine_tuned[0]), row(1.0, 20, 0.8, **fine_tuned[1])])) == 2


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ({"status": "diverged", "top1": None}, "it diverged"),
        ({"status": "failed", "top1": None}, "it is failed, not done"),
        ({"status": "running", "top1": None}, "it is running, not done"),
        ({"top1": None}, "its top-1 is not known"),
        ({"top1": float("nan")}, "its top-1 is not known"),
        ({"top1": 1.0}, "its top-1 is 1"),
        ({"top1": 0.0}, "its top-1 is 0"),
        ({"top1": 0.115}, "its top-1 of 0.1150 is that of chance among 10 classes"),
        ({"mult_adds": None}, "its Mult-Adds are not known"),
    ],
)
def test_a_cell_that_cannot_be_used_is_named_with_the_reason(own, reason):
    (family,) = families([*grid((1.0, 0.5), (28,)), row(0.25, 28, 0.8) | own])
    assert [cell.alpha for cell in family.cells] == [1.0, 0.5]
    assert family.left_out == (f"alpha=0.25,input_size=28 is not used: {reason}",)


def test_a_seed_that_diverged_takes_its_cell_with_it():
    """The mean of those that did not would flatter."""
    rows = grid((1.0, 0.5), (28,), (0, 1), spread=0.01)
    rows[1] |= {"status": "diverged", "top1": None}
    (family,) = families(rows)
    assert family.left_out == ("alpha=1.0,input_size=28 is not used: a trial diverged",)
    rows[1] |= {"status": "running"}
    (family,) = families(rows)
    assert [len(cell.scores) for cell in family.cells] == [1, 2], "one that is not done yet does not"


def test_each_task_has_families_of_its_own_score():
    rows = grid((1.0, 0.5), (28,))
    classified, segments = families([*rows, *segmented(rows)])
    assert [classified.score.column, segments.score.column] == ["top1", "miou"]
    assert [cell.scores for cell in segments.cells] == [cell.scores for cell in classified.cells]
    assert [cell.error_of_images for cell in segments.cells] == [0.01, 0.01]
    (chance,) = families(segmented([row(1.0, 28, 0.1)]))
    assert chance.left_out == (), "mIoU is no share of the images, and has no chance level of its own"


def test_two_recipes_in_one_cell_are_not_averaged():
    """Tuned twice, with other choices."""
    rows = [row(1.0, 28, 0.9, i, replicate=str(i), chosen="optim.learning_rate") for i in range(2)]
    (family,) = families(rows)
    assert family.left_out == ("alpha=1.0,input_size=28 is not used: its trials differ in more than their seeds",)


def test_near_chance_depends_on_the_number_of_images():
    assert families([row(1.0, 28, 0.12, test_images=1000)])[0].left_out
    assert not families([row(1.0, 28, 0.12, test_images=10_000)])[0].left_out
    assert not families([row(1.0, 28, 0.12, num_classes=None)])[0].left_out, "a table of an earlier version"


def test_bits_count_only_where_every_cell_has_them_of_the_same_images():
    rows = grid((1.0, 0.5), (28,))
    bits = {own["trial"]: np.arange(1000) < 1000 * own["top1"] for own in rows}
    (family,) = families(rows, bits)
    assert [cell.shares.mean() for cell in family.cells] == pytest.approx([own["top1"] for own in rows], abs=1e-3)
    bits[rows[0]["trial"]] = bits[rows[0]["trial"]][:500]
    (family,) = families(rows, bits)
    assert all(cell.shares is None for cell in family.cells)


def test_the_number_of_classes_comes_from_the_config(tmp_path):
    (found,) = results.collect(finish(tmp_path, [resolve(presets.get("mnist5k"), {}).to_dict()]))
    assert found["num_classes"] == 10


def test_networks_without_alpha_have_families_by_their_options():
    rows = [row(1.0, size, 0.9, **{"model.width": width}) for width in (8, 16) for size in (28, 20)]
    rows = [own | {"alpha": None, "model": "nets.py:Net"} for own in rows]
    wide, narrow = families(rows)
    assert (wide.name, wide.axes) == ("nets.py:Net, model.width 8", ("input_size",))
    assert [cell.label for cell in narrow.cells] == ["input_size=28", "input_size=20"]
