"""The networks of this package and one's own, exported with random weights, compute what they do in JAX."""

import collections
import runpy

import jax
import numpy as np
import pytest

import mnet_jax
from mnet_jax.export.program import Network, textbook
from tests import smooth_network
from tests.conftest import REPOSITORY

onnxruntime = pytest.importorskip("onnxruntime", reason="mnet_jax[export] is not installed")
from mnet_jax.export import onnx_file  # noqa: E402

V1, V2, V3 = mnet_jax.MobileNetV1, mnet_jax.MobileNetV2, mnet_jax.MobileNetV3Large

NETWORKS = (
    (V1, 0.35, (33, 47)),
    pytest.param(V1, 1.4, (32, 32), marks=pytest.mark.exhaustive),
    (V2, 0.35, (31, 33)),
    pytest.param(V2, 1.4, (32, 32), marks=pytest.mark.exhaustive),
    (V3, 0.35, (33, 47)),
    pytest.param(V3, 1.4, (33, 33), marks=pytest.mark.exhaustive),
)


def random_variables(module, x):
    """As after a training: a signal goes through, and no statistic is at its first value."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, train=False))

    def leaf(path, value):
        if "kernel" in str(path[-1]):
            return rng.normal(size=value.shape, scale=(2 / np.prod(value.shape[:-1])) ** 0.5).astype(np.float32)
        return rng.uniform(0.5, 1.5, value.shape).astype(np.float32) - ("bias" in str(path[-1]))

    params = jax.tree_util.tree_map_with_path(leaf, shapes["params"])
    if not hasattr(module, "bn_momentum"):
        return jax.tree_util.tree_map_with_path(leaf, shapes) | {"params": params}
    zero = jax.tree.map(lambda stats: np.zeros(stats.shape, np.float32), shapes["batch_stats"])
    train = jax.jit(lambda v: module.clone(bn_momentum=0.0, dropout=0.0).apply(v, x, train=True, mutable="batch_stats"))
    return {"params": params} | train({"params": params, "batch_stats": zero})[1]


def operators_of(module, shape):
    """Which an export consists of, after a comparison with JAX."""
    x = np.random.default_rng(1).normal(size=(5, *shape)).astype(np.float32)
    variables = random_variables(module, np.random.default_rng(2).normal(size=(64, *shape)).astype(np.float32))

    def logits(x):
        return module.apply(variables, x, train=False)

    model = onnx_file.as_model(Network(logits, shape, "float32", "logits"), "test", {})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = np.asarray(jax.jit(logits)(x))
    for number in (5, 1):
        ours = session.run(None, {"images": x[:number]})[0]
        assert np.abs(ours - expected[:number]).max() < 1e-4 * np.abs(expected).max()
    assert np.ptp(expected, axis=0).max() > 0.1 * np.abs(expected).max()  # images are told apart
    return collections.Counter(node.op_type for node in model.graph.node)


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "alpha", "size"), NETWORKS)
def test_a_mobilenet(cls, alpha, size):
    module = textbook(cls(num_classes=7, alpha=alpha, padding="symmetric" if alpha > 1 else "same"))
    found = operators_of(module, (*size, 3))
    assert found["Transpose"] == 1
    assert not {"BatchNormalization", "Sqrt", "Sub", "Expand"} & set(found)
    if cls is V1:
        assert dict(found) == {"Transpose": 1, "Conv": 27, "Clip": 27, "ReduceMean": 1, "Gemm": 1, "Identity": 1}


@pytest.mark.parametrize("size", [(16, 16), (15, 13)])
def test_a_network_of_ones_own(size, monkeypatch):
    others = {name: cls for name, cls in mnet_jax.models.registry.MODELS.items() if name != "residual_net"}
    monkeypatch.setattr(mnet_jax.models.registry, "MODELS", others)
    own = runpy.run_path(str(REPOSITORY / "configs/own_network.py"))["ResidualNet"]
    operators_of(own(num_classes=7, width=4), (*size, 1))


def test_a_network_that_asks_for_the_number_of_images():
    assert operators_of(smooth_network.Small(num_classes=3), (9, 8, 1))["Conv"] == 1
