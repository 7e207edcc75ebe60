import pytest

from mnet_jax import presets
from mnet_jax.config.dotted import flatten, from_json
from mnet_jax.config.durations import Steps, in_steps
from mnet_jax.config.field import Choices
from mnet_jax.config.fields import BY_KEY
from mnet_jax.config.identity import identity, trial_hash
from mnet_jax.config.resolve import resolve
from mnet_jax.errors import UserError
from mnet_jax.train.inputs import settle


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
        ("data.augment", "trivial", r"did you mean trivialaugment\? \(known: none, trivialaugment, randaugment\)"),
        ("data.augment_magnitude", 31, r"must be in \[0, 30\]"),
        ("data.min_scale", 2.5, r"must not be above config\.data\.max_scale=2\.0"),
        ("train.frozen_bn", True, r"config\.train\.init_from must name weights, with the statistics"),
        ("optim.head_multiplier", 0.0, "must be positive"),
        ("data.eval_scales", (0.5,), r"with 1\.0 among them"),
        ("data.random_erasing", 1.1, r"must be in \[0, 1\]"),
        ("train.mixup_alpha", -0.2, "must be 0 or more"),
        ("train.precise_bn_images", 63, r"must be 0, or one batch at least \(config\.train\.batch_size=64\)"),
        ("model.drop_path", 0.2, r"mobilenet_v1 has no such option"),
        ("optim.name", "rmsprob", "did you mean rmsprop"),
        ("train.batch_size", 0, "must be positive"),
        ("seed", -1, r"must be in \[0"),
    ],
)
def test_a_bad_value_is_named_with_what_would_be_right(tiny, key, value, message):
    with pytest.raises(UserError, match=message):
        settle(tiny, {key: value})


def test_resolving_fills_in_the_models_own_defaults_and_leaves_the_base_alone(tiny):
    tiny.model.bn_momentum = None
    v1 = resolve(tiny)
    v2 = resolve(tiny, {"model.name": "mobilenet_v2", "model.alpha": 1})
    assert (v1.model.dropout, v1.model.bn_momentum) == (0.001, 0.9997)
    assert (v2.model.dropout, v2.model.bn_momentum) == (0.2, 0.997)
    assert v1.model.shallow is False
    assert v2.model.residual is True
    assert "residual" not in v1.model
    assert (v1.data.mean, v1.model.padding, v1.model.bn_epsilon) == ((0.5,), "same", 1e-3)
    assert isinstance(v2.model.alpha, float)
    assert v1.is_locked
    assert tiny.model.dropout is None


def other_value(field, value):
    """Another value that the field may have."""
    if isinstance(field.rule, Choices):
        return next((word for word in field.rule.known if word != value), "other")
    candidates = {
        str: ("other",),
        int: (3, 4, 1, 8),
        float: (0.625, 0.25),
        bool: (not value,),
        tuple: ((0.25,),),
    }[field.kind]
    return next(v for v in candidates if v != value and not field.complaint(v))


CASES = {  # settings in which all fields have an effect
    "sgd": {},
    "rmsprop": {"optim.name": "rmsprop", "optim.schedule": "exponential"},
    "polynomial": {"optim.schedule": "polynomial"},
    "randaugment": {"data.augment": "randaugment"},
    "crops": {"data.crop": "inception", "data.cache_side": 32},
    "masks": {"data.name": "scenes"},
    "folder": {"data.name": "image_folder", "data.fingerprint": "0123"},
}


@pytest.mark.parametrize("case", CASES)
def test_two_values_give_two_hashes_exactly_where_the_field_has_an_effect(tiny, case):
    base = resolve(tiny, CASES[case])
    flat = flatten(base)
    for key, field in BY_KEY.items():
        changed = base.copy_and_resolve_references().unlock()
        group, _, leaf = key.rpartition(".")
        node = changed[group] if group else changed
        if key == "model.name":
            continue
        with node.ignore_type():
            node[leaf] = other_value(field, flat[key])
        has_effect = field.has_effect(flat)
        assert (trial_hash(changed) != trial_hash(base)) is has_effect, (
            f"{key} {'has' if has_effect else 'has no'} effect"
        )


def test_every_field_has_an_effect_in_one_of_these_cases_or_never(tiny):
    never = {
        "preset", "folder", "chosen", "tuning", "model.path", "model.spec", "model.fingerprint", "model.source",
        "data.data_dir", "data.source_dir", "data.max_bad_images", "data.read_threads", "data.class_names",
        "data.classes",
        "train.init_from", "train.log_every_steps", "train.eval_every_epochs", "train.checkpoint_every_epochs",
    }  # fmt: skip
    flats = [flatten(resolve(tiny, case)) for case in CASES.values()]
    without = {key for key, field in BY_KEY.items() if not any(field.has_effect(flat) for flat in flats)}
    assert without == never | {key for key in BY_KEY if key.startswith("launch.")}


def test_a_field_at_its_default_is_no_part_of_the_identity(tiny):
    """So a later version can add a field without giving an old trial another hash."""
    own = identity(resolve(tiny, {"optim.momentum": 0.9, "model.bn_epsilon": 1e-3}))
    assert not {"optim.momentum", "model.bn_epsilon", "model.layers", "seed"} & set(own)
    assert own["model.alpha"] == 0.25


def test_fields_without_effect_give_one_trial(tiny):
    tiny.optim.name = "adamw"
    one, other = (resolve(tiny, {"optim.rmsprop_decay": value}) for value in (0.5, 0.9))
    assert trial_hash(one) == trial_hash(other)


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
    rest = {"warmup": 5, "decay_every": 20, "eval_every": 1, "checkpoint_every": 10}
    assert steps == Steps(per_epoch=10.0, epochs=2.5, total=25, **rest)


@pytest.mark.parametrize(
    ("epochs", "total", "trained"), [(2.5, 25, 2.5), (2.54, 25, 2.54), (0.1, 1, 0.1), (0.001, 1, 0.1)]
)
def test_at_least_one_update_is_made_and_counts_as_what_it_is(tiny, epochs, total, trained):
    tiny.train.update(batch_size=96, epochs=epochs)
    steps = in_steps(resolve(tiny), num_train=960)
    assert (steps.total, steps.epochs) == (total, trained)


def test_intervals_that_are_not_whole_steps_come_around_as_often_as_asked():
    steps = Steps(2.5, 4.4, total=11, warmup=0, decay_every=1, eval_every=2.5, checkpoint_every=1.0)
    assert [step for step in range(1, 12) if steps.is_due(step, steps.eval_every)] == [3, 5, 8, 10, 11]
    assert all(steps.is_due(step, steps.checkpoint_every) for step in range(1, 12))
    exact = Steps(109.375, 8.0, total=875, warmup=0, decay_every=1, eval_every=109.375, checkpoint_every=1.0)
    assert [step for step in range(1, 876) if exact.is_due(step, exact.eval_every)] == [
        110, 219, 329, 438, 547, 657, 766, 875
    ]  # fmt: skip


def test_the_warmup_of_a_short_training_is_at_most_half_of_it(tiny):
    tiny.train.epochs, tiny.optim.warmup_epochs = 1.0, 5.0
    assert in_steps(resolve(tiny), num_train=640).warmup == 5


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(UserError, match="did you mean imagenet"):
        presets.get("imagnet")


def test_small_presets_keep_the_papers_ratios():
    assert presets.input_sizes(presets.get("mnist5k")) == (28, 24, 20, 16)
    assert presets.input_sizes(presets.get("cifar10")) == (32, 27, 23, 18)
    assert presets.input_sizes(presets.get("imagenet")) == (224, 192, 160, 128)


def test_the_modern_recipe_has_the_steps_and_the_averages_of_torchvisions():
    """600 epochs of 1,281,167 images in batches of 8 x 128; `adjust` and `alpha` are those of its train.py."""
    config = resolve(presets.get("imagenet_modern"), {"model.name": "mobilenet_v2"})
    steps = in_steps(config, 1_281_167)
    assert (steps.epochs, steps.total, steps.warmup) == (600, 750_684, 6256)
    adjust = 8 * 128 * 32 / 600
    alpha = min(1.0, (1.0 - 0.99998) * adjust)
    assert config.train.ema_decay**32 == pytest.approx(1 - alpha, abs=1e-5)
    assert config.input_size / config.data.eval_crop_fraction == pytest.approx(232)
