import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mnet_jax.config.durations import Steps
from mnet_jax.config.resolve import resolve
from mnet_jax.models import registry
from mnet_jax.train import optim

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
    ],
)
def test_schedules_after_a_linear_warmup(tiny, schedule, step, expected):
    _, rate = build(tiny, STEPS, schedule=schedule, learning_rate=0.2, decay_rate=0.5)
    assert float(rate(step)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("name", registry.MODELS)
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
