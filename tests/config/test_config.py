import pytest

from mnet_jax import presets
from mnet_jax.config.dotted import flatten, from_json
from mnet_jax.config.durations import Steps, in_steps
from mnet_jax.config.identity import _NEUTRAL, trial_hash
from mnet_jax.config.resolve import resolve
from mnet_jax.errors import UserError


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.alhpa", 0.5, r"config\.model\.alhpa: did you mean model\.alpha\?"),
        ("modle.alpha", 0.5, r"config\.modle\.alpha: did you mean model\?"),
        ("model.alpha", "half", r"config\.model\.alpha='half': must be of type float"),
        ("model.alpha", -1.0, r"config\.model\.alpha=-1\.0: must be positive"),
        ("model.alpha", float("nan"), "must be positive"),
        ("model.name", "mobilenet_v4", r"did you mean mobilenet_v\d\?"),
        ("model.total_stride", 3, "must be one of 1, 2, 4, 8, 16, 32"),
        ("model.dropout", 1.0, r"must be in \[0, 1\)"),
        ("model.residual", False, r"mobilenet_v1 has no such option \(it has alpha, .*separable, shallow"),
        ("model.padding", "sym", r"known: same, symmetric, keras_v1"),
        ("data.channels", 4, "must be 1 or 3"),
        ("data.mean", (0.1, 0.2, 0.3), r"must have 1 or config\.data\.channels=1 values"),
        ("data.eval_crop_fraction", 1.5, r"must be in \(0, 1\]"),
        ("train.epochs", 0.0, r"must be positive where config\.train\.init_from names no weights"),
        ("train.init_from", "absent.h5", r"weights absent\.h5: No such file"),
        ("input_size", 0, "must be positive"),
        ("input_size", 16.5, "must be of type int"),
        ("input_size", True, "must be of type int"),
        ("optim.name", "rmsprob", "did you mean rmsprop"),
        ("train.batch_size", 0, "must be positive"),
        ("seed", -1, r"must be in \[0"),
    ],
)
def test_a_bad_value_is_named_with_what_would_be_right(tiny, key, value, message):
    with pytest.raises(UserError, match=message):
        resolve(tiny, {key: value})


def test_resolving_fills_in_the_models_own_defaults_and_leaves_the_base_alone(tiny):
    tiny.model.bn_momentum = None
    v1 = resolve(tiny)
    v2 = resolve(tiny, {"model.name": "mobilenet_v2", "model.alpha": 1})
    assert (v1.model.dropout, v1.model.bn_momentum) == (0.001, 0.9997)
    assert (v2.model.dropout, v2.model.bn_momentum) == (0.2, 0.997)
    assert (v1.model.shallow, v1.model.residual, v2.model.residual) == (False, None, True)
    assert (v1.data.mean, v1.model.padding, v1.model.bn_epsilon) == ((0.5,), "same", 1e-3)
    assert isinstance(v2.model.alpha, float)
    assert v1.is_locked
    assert tiny.model.dropout is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.log_every_steps", 7),
        ("train.checkpoint_every_epochs", 0.25),
        ("train.eval_every_epochs", 0.25),
        ("data.data_dir", "elsewhere"),
        ("data.source_dir", "elsewhere"),
    ],
)
def test_what_cannot_change_a_result_is_no_part_of_the_hash(tiny, key, value):
    assert trial_hash(resolve(tiny, {key: value})) == trial_hash(resolve(tiny))


def test_every_other_field_is_part_of_the_hash(tiny):
    other = {str: "mnist5k2", float: 0.625, int: 5, bool: True, tuple: (0.25,)}
    base = resolve(tiny)
    known = {trial_hash(base)}
    keys = [key for key in flatten(base) if not any(key.startswith(n) for n in _NEUTRAL)]
    assert len(keys) > 30
    for key in keys:
        changed = base.copy_and_resolve_references().unlock()
        *path, leaf = key.split(".")
        node = changed
        for name in path:
            node = node[name]
        value = other[type(node[leaf])] if node[leaf] is not None else "something"
        value = not node[leaf] if isinstance(node[leaf], bool) else value
        with node.ignore_type():
            node[leaf] = value
        known.add(trial_hash(changed))
    assert len(known) == 1 + len(keys), "two of the changes gave the same hash"


def test_a_config_survives_its_json(resolved):
    text = resolved.to_json()
    again = from_json(text)
    assert trial_hash(again) == trial_hash(resolved)
    assert again.data.mean == (0.5,)
    assert again.is_locked


def test_durations_become_steps(tiny):
    tiny.train.update(batch_size=96, epochs=2.5, eval_every_epochs=0.001, checkpoint_every_epochs=1.0)
    tiny.optim.update(warmup_epochs=0.5, decay_every_epochs=2.0)
    steps = in_steps(resolve(tiny), num_train=960)
    assert steps == Steps(per_epoch=10.0, total=25, warmup=5, decay_every=20, eval_every=1, checkpoint_every=10)


def test_intervals_that_are_not_whole_steps_come_around_as_often_as_asked():
    steps = Steps(2.5, total=11, warmup=0, decay_every=1, eval_every=2.5, checkpoint_every=1.0)
    assert [step for step in range(1, 12) if steps.is_due(step, steps.eval_every)] == [3, 5, 8, 10, 11]
    assert all(steps.is_due(step, steps.checkpoint_every) for step in range(1, 12))
    exact = Steps(109.375, total=875, warmup=0, decay_every=1, eval_every=109.375, checkpoint_every=1.0)
    assert [step for step in range(1, 876) if exact.is_due(step, exact.eval_every)] == [
        110, 219, 329, 438, 547, 657, 766, 875
    ]  # fmt: skip


def test_the_warmup_of_a_short_training_is_at_most_half_of_it(tiny):
    tiny.train.epochs, tiny.optim.warmup_epochs = 1.0, 5.0
    assert in_steps(resolve(tiny), num_train=640).warmup == 5


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'imagenet'"):
        presets.get("imagnet")


def test_small_presets_keep_the_papers_ratios():
    assert presets.input_sizes(presets.get("mnist5k")) == (28, 24, 20, 16)
    assert presets.input_sizes(presets.get("cifar10")) == (32, 27, 23, 18)
    assert presets.input_sizes(presets.get("imagenet")) == (224, 192, 160, 128)
