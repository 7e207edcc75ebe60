"""Several looks at an image: which, what they give together, and what they cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnet_jax import presets
from mnet_jax.config.identity import trial_hash
from mnet_jax.config.passes import Pass, passes_of
from mnet_jax.config.resolve import resolve
from mnet_jax.cost.layers import count_network
from mnet_jax.data.augment import standardize
from mnet_jax.errors import UserError
from mnet_jax.models.ops.aligned_corners import resize_aligned
from mnet_jax.train.tasks.segmentation import Segmentation


@pytest.fixture
def scenes():
    config = presets.get("scenes")
    config.input_size = 96
    return config


def of(scenes, scales, flip=False):
    return resolve(scenes, {"data.eval_scales": scales, "data.eval_flip": flip})


def test_each_scale_is_seen_as_it_is_and_flipped(scenes):
    assert passes_of(resolve(scenes)) == [Pass(96, False)]
    assert passes_of(of(scenes, (0.5, 1.0), True)) == [(48, False), (48, True), (96, False), (96, True)]
    assert passes_of(of(scenes, (1.0, 1.5))) == [(96, False), (143, False)]


@pytest.mark.parametrize("scales", [(), (0.5,), (1.0, 0.0), (1.0, float("inf")), (1.0, "2")])
def test_scales_that_are_none_are_refused(scenes, scales):
    with pytest.raises(UserError, match=r"config\.data\.eval_scales=.*: must be positive and finite, with 1\.0 among"):
        of(scenes, scales)


def test_they_are_other_results_of_the_same_stream_for_masks_alone(scenes):
    assert trial_hash(of(scenes, (0.5, 1.0))) != trial_hash(of(scenes, (1.0,))) == trial_hash(resolve(scenes))
    digits = presets.get("mnist5k")
    asked = of(digits, (0.5, 1.0), True)
    assert trial_hash(asked) == trial_hash(resolve(digits))
    assert count_network(asked) == count_network(resolve(digits))


@pytest.mark.parametrize(("scales", "flip"), [((1.0,), True), ((0.5, 1.0, 1.5), True)])
def test_their_probabilities_are_averaged(scenes, scales, flip):
    """Of a network that is neither the same for a flipped image nor for a scaled one."""
    config = of(scenes, scales, flip)
    rng = np.random.default_rng(0)
    labels = np.zeros((2, 96, 96), np.uint8)
    batch = {"image": rng.integers(0, 256, (2, 96, 96, 1), np.uint8), "label": labels}

    def apply(images):
        slope = jnp.linspace(-1, 1, images.shape[2]).reshape(1, 1, -1, 1)
        return images * slope + jnp.arange(11).reshape(1, 1, 1, -1) * images.shape[1] / 100

    probabilities = []
    for scale in scales:
        side = 1 + int(95 * scale)
        images = standardize(batch["image"], config.data, side)
        seen = [apply(images)] + ([apply(images[:, :, ::-1])[:, :, ::-1]] if flip else [])
        probabilities += [jax.nn.softmax(resize_aligned(logits, 96, 96)) for logits in seen]
    found = Segmentation(config).predict(apply, batch, "ours")
    np.testing.assert_allclose(jnp.exp(found), sum(probabilities) / len(probabilities), rtol=1e-4)


def test_one_pass_gives_the_networks_own_logits(scenes):
    batch = {"image": np.zeros((2, 96, 96, 1), np.uint8), "label": np.zeros((2, 96, 96), np.uint8)}
    logits = jax.random.normal(jax.random.key(0), (2, 96, 96, 11))
    np.testing.assert_array_equal(Segmentation(resolve(scenes)).predict(lambda _: logits, batch, "ours"), logits)


def test_all_passes_are_counted(scenes):
    scenes.model.alpha = 0.25
    one, half = count_network(resolve(scenes)), count_network(resolve(scenes, {"input_size": 48}))
    found = count_network(of(scenes, (0.5, 1.0), True))
    assert found.mult_adds == 2 * (one.mult_adds + half.mult_adds)
    assert (found.params, found.weights) == (one.params, one.weights)
    assert found.activation_bytes == one.activation_bytes, "what a training step holds"
