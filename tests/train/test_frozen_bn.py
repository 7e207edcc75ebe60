"""Batch statistics that a training leaves as they are."""

import jax
import numpy as np
import optax
import pytest

from mnet_jax.config.durations import in_steps
from mnet_jax.models import registry
from mnet_jax.pretrained import recipes
from mnet_jax.train import inputs, optim, step
from mnet_jax.train.tasks.registry import task_of
from tests import foreign_weights


@pytest.fixture
def started(tmp_path, tiny):
    """A function from fields to a resolved config with weights, its network, and its state with these weights."""
    _, variables = foreign_weights.make("mobilenet_v1", channels=1, num_classes=10, alpha=0.25)
    path = foreign_weights.write_keras(tmp_path / "w.h5", variables)

    def start(**fields):
        overrides = {"train.init_from": str(path), "model.alpha": 0.25, "optim.warmup_epochs": 0.0}
        config = inputs.settle(tiny, overrides | fields)
        network = registry.build(config.model)
        optimizer, _ = optim.build(config.optim, in_steps(config, 256))
        state = jax.jit(lambda: step.create_state(network, optimizer, config, 0))()
        state = state.replace(**recipes.load(str(path), network, jax.device_get(state.evaluated())))
        return config, network, state, jax.jit(step.make_train_step(network, optimizer, config))

    return start


def batch_of(count):
    rng = np.random.default_rng(0)
    return {"image": rng.integers(0, 256, (count, 28, 28, 1), np.uint8), "label": rng.integers(0, 10, count, np.int32)}


@pytest.mark.parametrize("memory", ["bytes", "least"])
def test_a_step_has_the_gradient_of_the_evaluated_network(started, memory):
    """By the textbook's network, applied as in an evaluation; nothing is dropped, so both are one function."""
    fields = {"train.frozen_bn": True, "model.dropout": 0.0, "optim.name": "sgd", "optim.momentum": 0.0}
    fields |= {"optim.weight_decay": 0.0, "optim.schedule": "constant", "optim.learning_rate": 1e-3}
    config, network, state, train_step = started(**fields, **{"model.memory": memory})
    batch, task = batch_of(16), task_of(config)
    after, metrics = train_step(state, batch)
    images, targets = task.augment(batch, step.keys_of_step(state.rng, state.step)[0])
    textbook = network.clone(layers="textbook")

    def loss(params):
        logits = textbook.apply({"params": params, "batch_stats": state.batch_stats}, images, train=False)
        return task.loss(logits, targets)

    expected, grads = jax.jit(jax.value_and_grad(loss))(state.params)
    assert float(metrics["loss"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(metrics["grad_norm"]) == pytest.approx(float(optax.tree.norm(grads)), rel=1e-4)
    jax.tree.map(np.testing.assert_array_equal, after.batch_stats, state.batch_stats)
    moved = jax.tree.map(lambda old, new: (old - new) / 1e-3, state.params, after.params)
    for path, grad in jax.tree.leaves_with_path(grads):
        own = moved
        for entry in path:
            own = own[entry.key]
        np.testing.assert_allclose(own, grad, atol=2e-3 * float(np.abs(grad).max()) + 2e-4, err_msg=str(path))


def test_dropout_still_drops(started):
    _, _, state, train_step = started(**{"train.frozen_bn": True, "model.dropout": 0.5})
    _, _, _, without = started(**{"train.frozen_bn": True, "model.dropout": 0.0})
    batch = batch_of(16)
    assert float(train_step(state, batch)[1]["loss"]) != float(without(state, batch)[1]["loss"])


def test_without_it_statistics_follow_the_batch(started):
    _, _, state, train_step = started()
    after, _ = train_step(state, batch_of(16))
    for old, new in zip(jax.tree.leaves(state.batch_stats), jax.tree.leaves(after.batch_stats), strict=True):
        assert not np.array_equal(old, new)
