import re

import pytest

from mnet_jax.config.identity import trial_hash
from mnet_jax.errors import UserError
from mnet_jax.sweep.grid import expand
from mnet_jax.train.inputs import settle


def test_the_grid_is_the_product_of_the_axes_widths_first(tiny):
    tiny.sweep.input_size = (16, 12)
    tiny.sweep.model.alpha = (1, 0.5)
    trials = expand(tiny)
    names = [name.rpartition("-")[0] for name in trials]
    assert names == [f"alpha={alpha},input_size={size}" for alpha in (1.0, 0.5) for size in (16, 12)]
    assert [(t.model.alpha, t.input_size) for t in trials.values()] == [(1.0, 16), (1.0, 12), (0.5, 16), (0.5, 12)]


def test_a_generator_gives_sets_that_are_no_product(tiny):
    trials = expand(tiny, iter([{"model.alpha": 0.5, "input_size": 12}, {"optim.name": "adamw"}]))
    assert [name.rpartition("-")[0] for name in trials] == ["alpha=0.5,input_size=12", "name=adamw"]


def test_two_spellings_of_a_trial_are_said_and_trained_once(tiny):
    said = []
    tiny.optim.name = "adamw"
    tiny.sweep.optim.momentum = (0.8, 0.9)
    assert len(expand(tiny, say=said.append)) == 1
    assert re.fullmatch(r"momentum=0\.9-\w+ is the same trial as momentum=0\.8-\w+: .*", said[0])


def test_a_label_that_is_too_long_for_a_file_system_is_cut(tiny):
    keys = ["data.mean", "data.std", "optim.warmup_epochs", "optim.decay_rate", "train.label_smoothing", "seed"]
    values = [(0.123456789,), (0.987654321,), 0.123456789, 0.123456789, 0.123456789, 123456789]
    overrides = dict(zip(keys, values, strict=True)) | {"data.train_split": "train[:100]+train[200:300]+train[400:500]"}
    overrides |= {"data.validation_split": "train[500:600]+train[700:800]", "optim.rmsprop_epsilon": 0.123456789}
    (name,) = expand(tiny, [overrides])
    assert len(name.encode()) < 240
    assert name.rpartition("-")[2] == trial_hash(settle(tiny, overrides))


def test_axes_whose_last_names_agree_are_told_apart(tiny):
    (name,) = expand(tiny, iter([{"model.name": "mobilenet_v2", "optim.name": "adamw"}]))
    assert name.startswith("model.name=mobilenet_v2,optim.name=adamw-")


@pytest.mark.parametrize(
    ("axis", "values", "message"),
    [
        ("learning_rates", (0.1,), "unknown field config.sweep.learning_rates: did you mean sweep"),
        ("input_size", (0,), "input_size=0"),
        ("input_size", (16, 16), "twice"),
        ("seed", ("a",), "seed='a'.*type int"),
    ],
)
def test_a_bad_axis_is_refused(tiny, axis, values, message):
    tiny.sweep[axis] = values
    with pytest.raises(UserError, match=message):
        expand(tiny)
