import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnet_jax.models.ops.batch_norm import batch_norm_act, normalize

EPSILON = 1e-3


def arrays(shape, seed=0, shift=0.0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape) * rng.uniform(0.5, 2, shape[-1]).reshape(1, 1, 1, -1) + shift
    return x.astype(dtype), rng.uniform(0.5, 2, shape[-1]), rng.normal(size=shape[-1])


def textbook(x, scale, bias, activation):
    """Flax's, and the statistics that it would average."""
    layer = nn.BatchNorm(use_running_average=False, momentum=0.0, epsilon=EPSILON, dtype=x.dtype)
    statistics = {name: jnp.zeros(x.shape[-1], scale.dtype) for name in ("mean", "var")}
    y, state = layer.apply(
        {"params": {"scale": scale, "bias": bias}, "batch_stats": statistics}, x, mutable=["batch_stats"]
    )
    return activation(y), state["batch_stats"]["mean"], state["batch_stats"]["var"]


def gradients(function, *arguments):
    (y, *_), vjp = jax.vjp(function, *arguments)
    dy = np.random.default_rng(2).normal(size=y.shape).astype(y.dtype)
    return vjp((dy, *[jnp.zeros_like(statistic) for statistic in _]))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(2, 5), st.integers(1, 5), st.integers(1, 4)),
    activation=st.sampled_from([nn.relu, nn.relu6, nn.hard_swish, lambda x: x]),
    shift=st.sampled_from([0.0, 3.0]),
)
def test_output_statistics_and_gradients_equal_flax(shape, activation, shift):
    with jax.enable_x64(True):
        arguments = arrays(shape, shift=shift)
        ours = lambda *a: batch_norm_act(*a, EPSILON, activation)  # noqa: E731
        theirs = lambda *a: textbook(*a, activation)  # noqa: E731
        for a, b in zip(ours(*arguments), theirs(*arguments), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
        for a, b in zip(gradients(ours, *arguments), gradients(theirs, *arguments), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-8)


def test_rounding_is_that_of_flax_where_the_mean_is_ten_deviations():
    """Both are compared with float64: neither formula may lose more to cancellation."""
    x, scale, bias = arrays((8, 7, 7, 5), shift=10.0)
    with jax.enable_x64(True):
        exact = gradients(lambda *a: textbook(*a, nn.relu6), x, scale, bias)
    single = [array.astype(np.float32) for array in (x, scale, bias)]
    ours = gradients(lambda *a: batch_norm_act(*a, EPSILON, nn.relu6), *single)
    theirs = gradients(lambda *a: textbook(*a, nn.relu6), *single)
    for ours_i, theirs_i, exact_i in zip(ours, theirs, exact, strict=True):
        error, usual = (np.linalg.norm(np.asarray(array) - np.asarray(exact_i)) for array in (ours_i, theirs_i))
        assert error < 5 * usual + 1e-6 * np.linalg.norm(np.asarray(exact_i))


def test_bfloat16_activations_have_float32_statistics():
    x, scale, bias = arrays((4, 9, 9, 3), shift=1.0, dtype=np.float32)
    scale, bias = scale.astype(np.float32), bias.astype(np.float32)
    x = jnp.asarray(x, jnp.bfloat16)
    y, mean, variance = batch_norm_act(x, scale, bias, EPSILON, nn.relu6)
    assert (y.dtype, mean.dtype, variance.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    exact = np.asarray(x, np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, exact.var((0, 1, 2)), rtol=1e-4)
    dx, dscale, dbias = gradients(lambda *a: batch_norm_act(*a, EPSILON, nn.relu6), x, scale, bias)
    assert (dx.dtype, dscale.dtype, dbias.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)


def test_statistics_carry_no_gradient():
    x, scale, bias = (array.astype(np.float32) for array in arrays((2, 3, 3, 2)))
    of_mean = jax.grad(lambda x: batch_norm_act(x, scale, bias, EPSILON, nn.relu)[1].sum())(x)
    assert not of_mean.any()


def test_works_under_vmap():
    x, scale, bias = (array.astype(np.float32) for array in arrays((2, 3, 3, 4)))
    stacked = np.stack([x, x + 1])
    ours = lambda x: gradients(lambda *a: batch_norm_act(*a, EPSILON, nn.relu6), x, scale, bias)  # noqa: E731
    for mapped, *alone in zip(jax.vmap(ours)(stacked), *map(ours, stacked), strict=True):
        np.testing.assert_allclose(mapped, np.stack(alone), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_running_statistics_normalise_as_in_flax(dtype):
    x, scale, bias = (array.astype(np.float32) for array in arrays((2, 5, 5, 3)))
    mean, variance = np.float32([0.1, -1.0, 2.0]), np.float32([0.5, 1.0, 4.0])
    layer = nn.BatchNorm(use_running_average=True, epsilon=EPSILON, dtype=dtype)
    variables = {"params": {"scale": scale, "bias": bias}, "batch_stats": {"mean": mean, "var": variance}}
    x = jnp.asarray(x, dtype)
    ours = normalize(x, mean, variance, scale, bias, EPSILON).astype(dtype)
    tolerance = 1e-5 if dtype == np.float32 else 2e-2
    np.testing.assert_allclose(
        ours.astype(np.float32), layer.apply(variables, x).astype(np.float32), rtol=tolerance, atol=tolerance
    )
