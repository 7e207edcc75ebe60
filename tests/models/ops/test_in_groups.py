import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnet_jax.errors import UserError
from mnet_jax.models.ops.batch_norm import batch_norm_act
from mnet_jax.models.ops.in_groups import in_groups


def test_no_group_is_the_function_itself():
    assert in_groups(batch_norm_act, 0) is batch_norm_act


@pytest.mark.parametrize("group", [1, 2, 6])
def test_each_group_is_a_batch_by_itself(group):
    """Values, the average of the statistics, and gradients, in float64."""
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), 4)
        x = jax.random.normal(keys[0], (6, 3, 2, 5), jnp.float64) + 1
        scale, bias = (jax.random.normal(key, (5,), jnp.float64) + 1 for key in keys[1:3])
        weights = jax.random.normal(keys[3], x.shape, jnp.float64)

        def whole(x, scale, bias):
            y, mean, variance = in_groups(batch_norm_act, group)(x, scale, bias, 1e-3, nn.hard_swish)
            return (y * weights).sum(), (y, mean, variance)

        def one_by_one(x, scale, bias):
            parts = [batch_norm_act(part, scale, bias, 1e-3, nn.hard_swish) for part in jnp.split(x, 6 // group)]
            y, mean, variance = zip(*parts, strict=True)
            y = jnp.concatenate(y)
            return (y * weights).sum(), (y, sum(mean) / len(mean), sum(variance) / len(variance))

        ours, expected = (
            jax.value_and_grad(function, argnums=(0, 1, 2), has_aux=True)(x, scale, bias)
            for function in (whole, one_by_one)
        )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), ours, expected)


def test_a_batch_that_cannot_be_split_is_refused():
    with pytest.raises(UserError, match="bn_group=4: a batch of 6 images cannot be split into such groups"):
        in_groups(batch_norm_act, 4)(jnp.zeros((6, 2, 2, 3)), jnp.ones(3), jnp.zeros(3), 1e-3, nn.relu)
