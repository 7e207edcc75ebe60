import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnet_jax.models.layers import stochastic_depth
from mnet_jax.models.registry import MODELS


class Branch(nn.Module):
    """What a residual block adds, block 3 of 4 with stochastic depth at 0.4."""

    @nn.compact
    def __call__(self, x, train):
        return stochastic_depth(0.4, 3, 4, train, "drop_path")(x)


def test_an_image_loses_the_whole_branch_at_its_rate_or_has_it_scaled_up():
    x = np.random.default_rng(0).uniform(1, 2, (4000, 2, 2, 3)).astype(np.float32)
    rate = 0.4 * 3 / 4
    out = np.asarray(Branch().apply({}, x, True, rngs={"dropout": jax.random.key(0)}))
    is_lost = (out == 0).all((1, 2, 3))
    np.testing.assert_allclose(out[~is_lost], x[~is_lost] / (1 - rate), rtol=1e-6)
    assert is_lost.mean() == pytest.approx(rate, abs=0.03)
    np.testing.assert_array_equal(Branch().apply({}, x, False), x)


@pytest.mark.parametrize(
    ("name", "num_blocks", "adding"),
    [
        ("mobilenet_v2", 17, (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)),
        ("mobilenet_v3_large", 15, (1, 3, 5, 6, 8, 9, 10, 12, 14, 15)),
        ("mobilenet_v3_small", 11, (3, 5, 6, 8, 10, 11)),
    ],
)
def test_rates_rise_linearly_over_all_blocks_and_concern_those_that_add(name, num_blocks, adding):
    """`stochastic_depth_prob * stage_block_id / total_stage_blocks` in torchvision's EfficientNet; timm's alike."""
    rates = {}

    def note(call, arguments, options, context):
        if isinstance(context.module, nn.Dropout):
            rates[context.module.name] = context.module.rate
        return call(*arguments, **options)

    def trace(images):
        model = MODELS[name](num_classes=10, drop_path=0.2)
        variables = model.init(jax.random.key(0), images, train=False)
        with nn.intercept_methods(note):
            model.apply(variables, images, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)})

    jax.eval_shape(trace, jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32))
    found = {key: rate for key, rate in rates.items() if key.endswith("drop_path")}
    assert found == pytest.approx({f"block{i:02d}_drop_path": 0.2 * (i - 1) / num_blocks for i in adding})
