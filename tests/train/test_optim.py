import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mnet_jax.config.durations import Steps
from mnet_jax.config.resolve import resolve
from mnet_jax.devices.signals import Interruption
from mnet_jax.errors import UserError
from mnet_jax.models import registry
from mnet_jax.train import loop, optim
from tests.trials import final_state, folder_of, state_at

STEPS = Steps(per_epoch=10.0, epochs=10.0, total=100, warmup=10, decay_every=20, eval_every=10, checkpoint_every=10)
NO_WARMUP = Steps(per_epoch=10.0, epochs=10.0, total=100, warmup=0, decay_every=20, eval_every=10, checkpoint_every=10)


def build(tiny, steps=NO_WARMUP, **fields):
    tiny.optim.update(fields)
    return optim.build(tiny.optim, steps)


def after_two_steps(optimizer, params, grads):
    state = optimizer.init(params)
    for _ in range(2):
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ("constant", 0, 0.0),
        ("constant", 5, 0.1),
        ("constant", 99, 0.2),
        ("cosine", 10, 0.2),
        ("cosine", 55, 0.1),
        ("cosine", 100, 0.0),
        ("exponential", 29, 0.2),
        ("exponential", 30, 0.1),
        ("exponential", 50, 0.05),
        ("polynomial", 10, 0.2),
        ("polynomial", 55, 0.2 * 0.5**0.9),
        ("polynomial", 100, 0.0),
    ],
)
def test_schedules_after_a_linear_warmup(tiny, schedule, step, expected):
    _, rate = build(tiny, STEPS, schedule=schedule, learning_rate=0.2, decay_rate=0.5)
    assert float(rate(step)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adamw"])
def test_the_head_has_a_rate_of_its_own(tiny, name):
    """Ten times the change, and below it none that is another."""
    layer = {"kernel": jnp.ones((3, 2))}
    params = {"stem": layer, "classifier": {"logits": layer}, "aspp0": {"bn": {"scale": jnp.ones(2)}}}
    grads = jax.tree.map(lambda leaf: 0.1 * leaf, params)
    found = [build(tiny, name=name, head_multiplier=factor)[0] for factor in (1.0, 10.0)]
    updates = [optimizer.update(grads, optimizer.init(params), params)[0] for optimizer in found]
    for key, factor in {"stem": 1, "classifier": 10, "aspp0": 10}.items():
        expected = jax.tree.map(lambda leaf, factor=factor: factor * leaf, updates[0][key])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), updates[1][key], expected)


def test_a_rate_of_a_head_that_is_not_there_is_refused(small):
    with pytest.raises(UserError, match=r"config\.optim\.head_multiplier=10\.0: must be 1\.0, no layer of net"):
        optim.check_head(resolve(small, {"optim.head_multiplier": 10.0}))


RATES = {  # of a peak of 0.2: 4 steps of warm-up, then 8, by the number of those after the warm-up
    "constant": lambda after: 0.2,
    "cosine": lambda after: 0.2 * (1 + math.cos(math.pi * after / 8)) / 2,
    "exponential": lambda after: 0.2 * 0.5 ** (after // 2),
    "polynomial": lambda after: 0.2 * (1 - after / 8) ** 0.9,
}


def test_a_trial_trains_at_the_rates_of_its_schedule_and_logs_them(tmp_path, small):
    """Of SGD without momentum and decay, a step is as long as the rate times the norm of the gradient."""
    small.train.update(log_every_steps=1, checkpoint_every_epochs=0.25)
    small.optim.update(learning_rate=0.2, warmup_epochs=1.0, decay_rate=0.5, decay_every_epochs=0.5)
    small.optim.update(momentum=0.0, weight_decay=0.0)
    folders = {name: folder_of(tmp_path / name, small, optim__schedule=name) for name in optim.SCHEDULES}
    loop.train(list(folders.values()), Interruption())
    losses, ends = [], []
    for name, folder in folders.items():
        rows = [row for row in folder.metrics() if "learning_rate" in row]
        expected = [0.2 * step / 4 if step < 4 else RATES[name](step - 4) for step in range(12)]
        assert [row["learning_rate"] for row in rows] == pytest.approx(expected, rel=1e-5, abs=1e-8), name
        before, after = state_at(folder, 11), final_state(folder)
        moved = [np.ravel(after[key] - before[key]) for key in after if key.startswith("['params']")]
        length = expected[-1] * rows[-1]["grad_norm"]
        assert np.linalg.norm(np.concatenate(moved)) == pytest.approx(length, rel=1e-3), name
        losses.append([row["loss"] for row in rows])
        ends.append(after["['params']['Dense_0']['kernel']"])
    for (ours, end), (theirs, other) in itertools.combinations(zip(losses, ends, strict=True), 2):
        assert ours[:6] == pytest.approx(theirs[:6], rel=1e-5), "up to the peak the rates are the same"
        assert np.abs(end - other).max() > 1e-3


@pytest.mark.parametrize("name", registry.classifiers())
def test_weight_decay_spares_depthwise_kernels_batch_norm_and_biases(tiny, name):
    tiny.model.name = name
    model = registry.build(resolve(tiny).model)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 16, 16, 1)))["params"]
    for path, is_decayed in jax.tree_util.tree_leaves_with_path(optim.weight_decay_mask(params)):
        text = jax.tree_util.keystr(path)
        assert is_decayed == (text.endswith("['kernel']") and "depthwise" not in text), text
    assert sum(jax.tree.leaves(optim.weight_decay_mask(params))) > 10


def test_rmsprop_is_tensorflow_1s(tiny):
    """ms <- ms + (1 - decay)(g^2 - ms) from 1; mom <- momentum * mom + lr * g / sqrt(ms + eps); w <- w - mom."""
    optimizer, _ = build(
        tiny,
        name="rmsprop",
        schedule="constant",
        learning_rate=0.1,
        weight_decay=0.0,
        momentum=0.8,
        rmsprop_decay=0.7,
        rmsprop_epsilon=0.5,
    )
    g, w, ms, momentum = 3.0, 1.0, 1.0, 0.0
    for _ in range(2):
        ms += 0.3 * (g * g - ms)
        momentum = 0.8 * momentum + 0.1 * g / np.sqrt(ms + 0.5)
        w -= momentum
    params = after_two_steps(optimizer, {"kernel": jnp.array([[1.0]])}, {"kernel": jnp.array([[g]])})
    np.testing.assert_allclose(params["kernel"], [[w]], rtol=1e-6)


def test_sgd_couples_weight_decay_into_the_momentum(tiny):
    optimizer, _ = build(tiny, name="sgd", schedule="constant", learning_rate=0.1, weight_decay=0.5, momentum=0.9)
    w, momentum = 1.0, 0.0
    for _ in range(2):
        momentum = 0.9 * momentum + (2.0 + 0.5 * w)
        w -= 0.1 * momentum
    params = {"kernel": jnp.ones((1, 1)), "bias": jnp.ones(1)}
    grads = {"kernel": jnp.full((1, 1), 2.0), "bias": jnp.zeros(1)}
    params = after_two_steps(optimizer, params, grads)
    np.testing.assert_allclose(params["kernel"], [[w]], rtol=1e-6)
    np.testing.assert_array_equal(params["bias"], [1.0])


def test_adamw_decouples_weight_decay(tiny):
    optimizer, _ = build(tiny, name="adamw", schedule="constant", learning_rate=0.1, weight_decay=0.5)
    params = after_two_steps(optimizer, {"kernel": jnp.ones((1, 1))}, {"kernel": jnp.zeros((1, 1))})
    np.testing.assert_allclose(params["kernel"], [[0.95**2]], rtol=1e-6)


def test_gradients_are_clipped_by_their_global_norm(tiny):
    optimizer, _ = build(
        tiny, name="sgd", schedule="constant", learning_rate=1.0, weight_decay=0.0, momentum=0.0, grad_clip_norm=5.0
    )
    params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
    updates, _ = optimizer.update({"a": jnp.array([30.0]), "b": jnp.array([40.0])}, optimizer.init(params), params)
    np.testing.assert_allclose([updates["a"][0], updates["b"][0]], [-3.0, -4.0], rtol=1e-6)
