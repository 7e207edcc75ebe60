"""Trials that differ only in their seed or a scalar of their training, as one vmapped step.

For devices that one network alone does not fill; `python -m benchmarks.replicates` measures it. The numbers are those
of separate trials to the rounding of float32, no more: products are summed in another order.
"""

import time
import types
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mnet_jax.config.dotted import flatten
from mnet_jax.config.identity import HYPERPARAMETERS
from mnet_jax.models import registry
from mnet_jax.train import optim, step
from mnet_jax.train.trial import Trial, Update


class Replicates:
    """Trials at the same step that train as one.

    Attributes:
      trials: each reads its own part of the common state when it evaluates or saves.
      step: updates dispatched so far.
    """

    def __init__(self, trials: Sequence[Trial]):
        """Takes over the states of the trials and compiles the step.

        Args:
          trials: of one `identity.replicate_key`.
        """
        self.trials = tuple(trials)
        first, programs = trials[0], trials[0].programs
        self.step = first.step
        self._states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(trial.state for trial in trials))
        flat = [flatten(trial.config) for trial in trials]
        hyperparameters = {
            name: jnp.asarray([values[name] for values in flat], jnp.float32) for name in HYPERPARAMETERS
        }
        train_step = jax.jit(
            _vmapped_step(first),
            in_shardings=(programs.replicated, programs.replicated, programs.sharded),
            out_shardings=programs.replicated,
            donate_argnums=0,
        )
        self._train_step = train_step.lower(self._states, hyperparameters, programs.abstract_batch).compile()
        self._hyperparameters = hyperparameters
        self._take = jax.jit(lambda states, i: jax.tree.map(lambda leaf: leaf[i], states))
        for i, trial in enumerate(trials):
            trial.borrow_state(lambda i=i: self._take(self._states, i))

    def update(self, batch: Mapping[str, jax.Array], timed: bool) -> list[Update]:
        """As `Trial.update`, of all trials."""
        start = time.monotonic()
        self._states, metrics = self._train_step(self._states, self._hyperparameters, batch)
        self.step += 1
        seconds = None
        if timed:
            jax.block_until_ready(self._states)
            seconds = (time.monotonic() - start) / len(self.trials)
        return [Update(trial, part, seconds) for trial, part in zip(self.trials, metrics, strict=True)]


def _vmapped_step(trial: Trial):
    """`(states, hyperparameters, batch) -> (states, metrics of each)`."""
    model = registry.build(trial.config.model)

    def train_step(state, hyperparameters, batch):
        config = _with(trial.config, hyperparameters)
        optimizer, _ = optim.build(config.optim, trial.steps)
        return step.make_train_step(model, optimizer, config)(state, batch)

    def train_steps(states, hyperparameters, batch):
        states, metrics = jax.vmap(train_step, in_axes=(0, 0, None))(states, hyperparameters, batch)
        count = len(metrics["loss"])
        return states, [jax.tree.map(lambda values, i=i: values[i], metrics) for i in range(count)]

    return train_steps


def _with(config: ConfigDict, values: Mapping[str, jax.Array], prefix: str = "") -> types.SimpleNamespace:
    """The config with some fields replaced by traced values, which a ConfigDict would not take."""

    def replaced(name: str, value: Any):
        path = f"{prefix}{name}"
        return _with(value, values, f"{path}.") if isinstance(value, ConfigDict) else values.get(path, value)

    return types.SimpleNamespace(**{name: replaced(name, value) for name, value in config.items()})
