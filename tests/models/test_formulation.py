"""Every formulation of the layers is the same network: outputs, gradients, statistics, variables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mnet_jax
from mnet_jax.models.layers import LAYERS, formulation
from mnet_jax.models.ops.convolution import MEMORY
from tests import short_network

NETWORKS = (
    (mnet_jax.MobileNetV1, {"padding": "keras_v1", "shallow": True}, "bytes"),
    pytest.param(mnet_jax.MobileNetV1, {"separable": False, "shallow": True}, "least", marks=pytest.mark.exhaustive),
    pytest.param(mnet_jax.MobileNetV2, {}, "least", marks=pytest.mark.exhaustive),
    (short_network.Short, {"padding": "symmetric"}, "least"),
)


def loss_and_gradients(module, variables, images):
    def loss(params):
        dropout = {"dropout": jax.random.key(3)}
        logits, updated = module.apply(
            {**variables, "params": params}, images, train=True, mutable="batch_stats", rngs=dropout
        )
        weights = np.random.default_rng(1).normal(size=logits.shape)
        return (logits * weights).sum(), updated["batch_stats"]

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])


def assert_close(ours, theirs, rtol):
    """Relative to the largest value of the tree: a gradient that is nearly 0 holds rounding alone."""
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(theirs))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=rtol * largest), ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "options", "memory"), NETWORKS)
def test_on_a_gpu_it_is_the_textbooks_network(cls, options, memory):
    with jax.enable_x64(True):
        images = np.random.default_rng(0).normal(size=(6, 17, 16, 3))
        theirs = cls(num_classes=3, alpha=0.25, total_stride=8, layers="textbook", dtype=jnp.float64, **options)
        ours = theirs.clone(layers="fast", memory=memory, platform="gpu")
        variables, our_variables = (m.init(jax.random.key(0), images[:1], train=False) for m in (theirs, ours))
        assert jax.tree.structure(our_variables) == jax.tree.structure(variables)
        variables = jax.tree.map(lambda leaf: leaf.astype(np.float64), variables)
        (loss, statistics), gradients = loss_and_gradients(theirs, variables, images)
        (our_loss, our_statistics), our_gradients = loss_and_gradients(ours, variables, images)
        assert float(our_loss) == pytest.approx(float(loss), rel=1e-6)  # logits are single
        assert_close(our_gradients, gradients, 1e-10)
        assert_close(our_statistics, statistics, 1e-6)  # single


def test_it_is_chosen_by_config_and_platform():
    chosen = {
        (layers, memory, platform): formulation(layers, memory, platform, bn_group=0)
        for layers in LAYERS
        for memory in MEMORY
        for platform in ("cpu", "gpu", "tpu", "another")
    }
    assert {key: value for key, value in chosen.items() if value != key[0]} == {
        ("fast", "bytes", "gpu"): "bytes",
        ("fast", "least", "gpu"): "least",
        ("fast", "bytes", "tpu"): "textbook",
        ("fast", "least", "tpu"): "textbook",
    }


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [1.0, 0.25, *(pytest.param(a, marks=pytest.mark.exhaustive) for a in (0.75, 0.5))])
@pytest.mark.parametrize("input_size", [224, 192, 160, 128])
def test_on_a_tpu_it_is_the_textbooks_program(alpha, input_size):
    """Lowered, not compiled: every cell of the papers' grid."""
    theirs = mnet_jax.MobileNetV1(num_classes=1000, alpha=alpha, layers="textbook", dtype=jnp.bfloat16)
    ours = theirs.clone(layers="fast", platform="tpu")
    images = jax.ShapeDtypeStruct((256, input_size, input_size, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: theirs.init(jax.random.key(0), x, train=False), images)
    programs = []
    for module in (ours, theirs):

        def loss(params, images, batch_stats, module=module):
            rngs = {"dropout": jax.random.key(0)}
            variables = {"params": params, "batch_stats": batch_stats}
            return module.apply(variables, images, train=True, mutable="batch_stats", rngs=rngs)[0].sum()

        traced = jax.jit(jax.grad(loss)).trace(variables["params"], images, variables["batch_stats"])
        programs.append(traced.lower(lowering_platforms=("tpu",)).as_text())
    assert programs[0] == programs[1]


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_groups_of_images_are_normalised_everywhere(platform):
    module = mnet_jax.MobileNetV1(num_classes=2, alpha=0.1, shallow=True, total_stride=2, bn_group=2, platform=platform)
    images = np.random.default_rng(0).normal(size=(4, 4, 4, 3)).astype(np.float32)
    variables = module.init(jax.random.key(0), images, train=False)

    def mean_of_stem(images):
        return module.apply(variables, images, train=True, mutable="batch_stats", rngs={"dropout": jax.random.key(0)})[
            1
        ]["batch_stats"]["stem"]["bn"]["var"]

    halves = [mean_of_stem(images[i : i + 2]) for i in (0, 2)]
    np.testing.assert_allclose(mean_of_stem(images), np.mean(halves, axis=0), rtol=1e-5)
