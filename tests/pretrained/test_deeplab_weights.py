"""Weights of a classification network start the layers below DeepLab's head."""

import jax
import numpy as np
import pytest
from flax import traverse_util

from mnet_jax import presets
from mnet_jax.errors import UserError
from mnet_jax.models import registry
from mnet_jax.pretrained import recipes
from mnet_jax.train import inputs
from tests import foreign_weights

HEAD = ("logits", "projection", "aspp", "image_pooling")


@pytest.mark.parametrize(("name", "beside"), [("mobilenet_v1", "classifier"), ("mobilenet_v2", "last")])
def test_all_but_the_head_is_that_of_the_file(tmp_path, name, beside):
    _, variables = foreign_weights.make(name, num_classes=12, alpha=0.25)
    path = foreign_weights.write_keras(tmp_path / "w.h5", variables)
    model = registry.MODELS[f"deeplab_{name}"](num_classes=3, alpha=0.25, output_stride=8, aspp=True)
    own = jax.jit(lambda: model.init(jax.random.key(1), np.zeros((1, 33, 33, 3), np.float32)))()
    found = recipes.load(path, model, jax.device_get(own))
    ours, before = (traverse_util.flatten_dict(tree, sep="/") for tree in (found, own))
    assert ours.keys() == before.keys()
    of_head = {key for key in ours if key.split("/")[1].startswith(HEAD)}
    for key, value in ours.items():
        expected = before if key in of_head else variables
        np.testing.assert_array_equal(value, expected[key], err_msg=key)
    assert {key.split("/")[1] for key in variables.keys() - ours.keys()} == {"classifier"} | ({beside} - {"classifier"})
    with pytest.raises(UserError, match=r"do not fit mobilenet_v. with alpha 0\.5 and 3 classes.*model\.alpha=0\.25"):
        recipes.load(path, model.clone(alpha=0.5), recipes.abstract_variables(model.clone(alpha=0.5), 3))


def test_a_trial_starts_from_them_and_without_training_there_is_no_head(tmp_path):
    _, variables = foreign_weights.make("mobilenet_v2", channels=1, num_classes=12, alpha=0.25)
    path = foreign_weights.write_keras(tmp_path / "w.h5", variables)
    config = presets.get("scenes")
    config.model.alpha = 0.25
    config.train.init_from = str(path)
    resolved = inputs.settle(config)
    assert (resolved.model.padding, resolved.model.bn_epsilon, resolved.data.mean) == ("same", 1e-3, (0.5,))
    recipes.check(resolved)
    with pytest.raises(
        UserError, match=r"without the head of deeplab_mobilenet_v2: config\.train\.epochs=0\.0 must be"
    ):
        inputs.settle(config, {"train.epochs": 0.0})
