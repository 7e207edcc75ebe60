import math

import numpy as np
import pytest

from mnet_jax.pretrained import recipes
from tests.parity.conftest import assert_parity, images, kernel, our_logits, statistics

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

keras.config.set_floatx("float64")

CLASSES = 11
TOLERANCE = 1e-4  # float64, but that Keras normalises in float32 even then
SIZES = (64, 75)  # all maps of 64 are even until the last, 75 gives 38, 19, 10, 5, 3

BUILDERS = {
    "mobilenet_v1": keras.applications.MobileNet,
    "mobilenet_v2": keras.applications.MobileNetV2,
    "mobilenet_v3_large": keras.applications.MobileNetV3Large,
    "mobilenet_v3_small": keras.applications.MobileNetV3Small,
}

CASES = [
    *[("mobilenet_v1", alpha, {}) for alpha in (0.25, 0.5, 0.75, 1.0)],
    *[("mobilenet_v2", alpha, {}) for alpha in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)],
    *[(f"mobilenet_v3_{size}", alpha, {}) for size in ("large", "small") for alpha in (0.75, 1.0)],
    *[(f"mobilenet_v3_{size}", 1.0, {"minimalistic": True}) for size in ("large", "small")],
]


def keras_model(name, alpha, side, **options):
    """Random kernels and statistics, logits without softmax."""
    if "v3" in name:
        options["include_preprocessing"] = False
    model = BUILDERS[name](
        input_shape=(side, side, 3),
        alpha=alpha,
        weights=None,
        classes=CLASSES,
        classifier_activation=None,
        **options,
    )
    for variable in model.variables:
        if "bn" in variable.path.lower().rpartition("/")[0]:
            variable.assign(np.float32(statistics(variable.name, variable.shape)))
        elif variable.name == "kernel":
            depthwise = "depthwise" in variable.path or "conv_dw" in variable.path
            values = kernel(variable.shape, math.prod(variable.shape[: 2 if depthwise else -1]))
            variable.assign(np.float32(values))
    return model


def logits(model, x):
    with torch.no_grad():
        return keras.ops.convert_to_numpy(model(x, training=False))


@pytest.mark.parametrize("side", SIZES)
@pytest.mark.parametrize(("name", "alpha", "options"), CASES)
def test_logits(name, alpha, options, side, tmp_path):
    model = keras_model(name, alpha, side, **options)
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    ours = name + ("_minimalistic" if options else "")
    x = images(side)
    assert_parity(our_logits(path, x, name=ours, alpha=alpha, num_classes=CLASSES)[2], logits(model, x), TOLERANCE)


@pytest.mark.parametrize("suffix", ["h5", "keras"])
@pytest.mark.parametrize(
    ("name", "alpha"), [("mobilenet_v1", 0.25), ("mobilenet_v2", 0.35), ("mobilenet_v3_small", 1.0)]
)
def test_the_other_formats_of_a_file(name, alpha, suffix, tmp_path):
    model = keras_model(name, alpha, 64)
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    x = images(64)
    assert_parity(our_logits(path, x, name=name, alpha=alpha, num_classes=CLASSES)[2], logits(model, x), TOLERANCE)


def test_the_rule_of_padding_shows_on_odd_sides(tmp_path, monkeypatch):
    """What the tests above would miss if TensorFlow's SAME were used for Keras's MobileNet V1."""
    model = keras_model("mobilenet_v1", 0.25, 75)
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    x = images(75)
    theirs = logits(model, x)
    recipe = recipes.recipe
    monkeypatch.setattr(recipes, "recipe", lambda *args: recipe(*args) | {"model.padding": "same"})
    ours = our_logits(path, x, name="mobilenet_v1", alpha=0.25, num_classes=CLASSES)[2]
    assert np.abs(ours - theirs).max() > 10 * TOLERANCE * np.abs(theirs).max()
