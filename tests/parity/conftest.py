"""Our networks against the real libraries: the same weights must give the same logits.

These tests need the extra `parity`; `.ci/run` makes an environment of its own for them.
"""

import importlib.util
import os
import warnings

import jax
import numpy as np
import pytest

from mnet_jax.models import registry
from mnet_jax.pretrained import recipes

os.environ["KERAS_BACKEND"] = "torch"  # another implementation of the convolutions than ours, and nothing to compile


if importlib.util.find_spec("torch"):
    from benchmarks.contenders import cpu_torchvision

    cpu_torchvision.make_importable()

RNG = np.random.default_rng(0)
_START = RNG.bit_generator.state


def our_logits(path, images, **fields):
    """Logits of a weight file under its own recipe; `images` (batch, side, side, 3) are what the library is given.

    Computed in float64, for the rounding of deep networks with random weights can reach 1e-4 in float32.
    """
    name = fields.pop("name")
    recipe = recipes.recipe(str(path), name)
    options = {key.partition(".")[2]: value for key, value in recipe.items() if key.startswith("model.")}
    model = registry.MODELS[name](**fields | options)
    variables = recipes.load(str(path), model, recipes.abstract_variables(model, images.shape[-1]))
    with jax.enable_x64(True):
        double, *arrays = jax.tree.map(np.float64, (variables, images))
        return model, variables, np.asarray(jax.jit(model.clone(dtype=np.float64).apply)(double, *arrays))


def assert_parity(ours, theirs, tolerance):
    """At most `tolerance` of the largest logit apart, on logits that differ among images and classes."""
    assert ours.shape == theirs.shape
    scale = np.abs(theirs).max()
    assert theirs.std(axis=0).max() > 1e-3 * scale, "the images must make a difference"
    assert np.abs(ours - theirs).max() <= tolerance * scale


def images(side):
    return RNG.uniform(-1, 1, (2, side, side, 3)).astype(np.float32)


def kernel(shape, fan_in):
    """Kernels that keep the size of what passes through (He et al., 2015), so that the images reach the logits."""
    return RNG.normal(0, (2 / fan_in) ** 0.5, shape)


def statistics(name, shape):
    """Random values for a tensor of batch normalisation, by its name in either library."""
    if name in ("gamma", "weight"):
        return RNG.uniform(0.5, 1.5, shape)
    if name in ("beta", "bias", "moving_mean", "running_mean"):
        return RNG.normal(0, 0.1, shape)
    return RNG.uniform(0.5, 1.5, shape)


@pytest.fixture(autouse=True)
def same_numbers_in_any_order():
    RNG.bit_generator.state = _START


@pytest.fixture(autouse=True)
def other_libraries_warn():
    """Their own deprecations are none of our errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
