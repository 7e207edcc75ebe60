"""Precise batch normalisation: statistics for an evaluation, estimated anew over training images.

pycls' `compute_precise_bn_stats` (Wu and Johnson, 2021, arXiv:2105.07576, section 3): over whole batches of training
images, the mean of their means, and the variance of all their values, which is the mean of their variances and the
variance of their means. Variances are biased, as those of Flax are; PyTorch's are not. The images are those of the
first steps of the training, augmented as then but not mixed, so the statistics are a function of weights and config.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax import lax
from ml_collections import ConfigDict

from mnet_jax.errors import UserError
from mnet_jax.train.bn_devices import abstract_statistics
from mnet_jax.train.step import TrainState, keys_of_step
from mnet_jax.train.tasks.registry import task_of

Variables = Mapping[str, Any]


class Estimate:
    """The variables of a trial that are evaluated, whose batch statistics become those of training batches.

    Attributes:
      num_batches: that it takes; 0 leaves the running statistics.
      variables: {"params", "batch_stats"}; moving averages where the trial has them, of all devices together.
    """

    def __init__(self, compiled, state: TrainState):
        """Waits for the compiler.

        Args:
          compiled: the `compiled.CompiledSteps` of the trial.
          state: of the trial, which stays as it is.
        """
        self.num_batches = compiled.precise_batches
        self.variables = compiled.evaluated(state)
        self._rng = state.rng
        self._step = compiled.precise_step.result() if self.num_batches else None

    def add(self, step: int, batch: Mapping[str, jax.Array]) -> None:
        """Takes the training batch of a step, all from 0 on in turn; waits only for the one before."""
        if step < self.num_batches:
            jax.block_until_ready(self.variables["batch_stats"])
            batch_stats = self._step(self.variables, self._rng, np.int32(step), batch)
            self.variables = {**self.variables, "batch_stats": batch_stats}


def num_batches(config: ConfigDict, num_train: int) -> int:
    """How many batches of training images a resolved config estimates from: no more than an epoch has; 0 for none.

    Args:
      config: `train.precise_bn_images`, `train.batch_size`.
      num_train: images in an epoch; 0 where nothing is trained.
    """
    return min(config.train.precise_bn_images, num_train) // config.train.batch_size


def check(config: ConfigDict) -> None:
    """Raises UserError where a resolved config asks for something of the statistics of a network that has none."""
    if not abstract_statistics(config):
        asked = "model.bn_devices='local': must be 'global'"
        if config.train.precise_bn_images:
            asked = f"train.precise_bn_images={config.train.precise_bn_images}: must be 0"
        raise UserError(f"config.{asked}, network {config.model.name} has no batch statistics")


def make_precise_step(
    model: nn.Module, config: ConfigDict, together: int
) -> Callable[[Variables, jax.Array, jax.Array, Mapping[str, jax.Array]], Any]:
    """`precise_step(variables, rng, step, batch) -> batch_stats`: those of `variables`, and of one batch more.

    `batch` is that of the training step `step`, `rng` that of its trial; the statistics of `variables` are those of the
    steps before, and at step 0 are of no account. So are those of normalisations that do not follow their batches,
    which stay as they are to rounding.

    Args:
      model: as in `step.create_state`.
      config: resolved; `input_size` and `config.data`.
      together: images that the training normalises together; each so many are a batch by themselves here.
    """
    task = task_of(config)

    def statistics(variables, images, dropout_key):
        with nn.intercept_methods(_forget):
            _, updated = model.apply(
                variables, images, train=True, mutable=["batch_stats"], rngs={"dropout": dropout_key}
            )
        return updated["batch_stats"]

    def precise_step(variables, rng, step, batch):
        augment_key, dropout_key, _ = keys_of_step(rng, step)
        images, _ = task.augment(batch, augment_key)
        parts = len(images) // together
        if parts == 1:
            return joined(variables["batch_stats"], statistics(variables, images, dropout_key), step)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(dropout_key, jnp.arange(parts))
        images = images.reshape(parts, together, *images.shape[1:])
        of_parts = jax.vmap(statistics, (None, 0, 0))(variables, images, keys)

        def add(joined_and_count, of_part):
            before, count = joined_and_count
            return (joined(before, of_part, count), count + 1), None

        (batch_stats, _), _ = lax.scan(add, (variables["batch_stats"], step * parts), of_parts)
        return batch_stats

    return precise_step


def joined(before: Any, of_batch: Any, count: jax.Array) -> Any:
    """Means and variances of `count` batches and of one more of the same size (Chan et al., 1979).

    Args:
      before, of_batch: nested dicts, {"mean", "var"} at each normalisation; any other leaf is averaged.
      count: of batches behind `before`.
    """
    old, new = (traverse_util.flatten_dict(stats) for stats in (before, of_batch))
    result = {path: (count * old[path] + value) / (count + 1) for path, value in new.items()}
    for *module, leaf in new:
        mean = (*module, "mean")
        if leaf == "var" and mean in new:
            result[*module, leaf] += jnp.square(new[mean] - old[mean]) * count / jnp.square(count + 1.0)
    return traverse_util.unflatten_dict(result)


def _forget(call, arguments, options, context):
    """Leaves the statistics of the batch alone in the running ones, as pycls does by a momentum of 1 in PyTorch."""
    module = context.module
    if not isinstance(module, nn.BatchNorm):
        return call(*arguments, **options)
    momentum = module.momentum
    object.__setattr__(module, "momentum", 0.0)  # a bound module is frozen, and a copy would be another layer
    try:
        return call(*arguments, **options)
    finally:
        object.__setattr__(module, "momentum", momentum)
