"""Trials that differ only in their seed or a scalar of their training, as one vmapped step.

For devices that one network alone does not fill; `python -m benchmarks.replicates` measures it. The numbers are those
of separate trials to the rounding of float32, no more: products are summed in another order.
"""

import collections
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mnet_jax.config.dotted import flatten
from mnet_jax.config.identity import HYPERPARAMETERS, replicate_key
from mnet_jax.train import optim, step
from mnet_jax.train.trial import Trial
from mnet_jax.train.units import Alone, Unit


def alike_ones(units: Sequence[Alone]) -> list[list[Alone]]:
    """Those that can be `Replicates`: at the same step, of one `identity.replicate_key`, and the config wants it."""
    alike = collections.defaultdict(list)
    for unit in units:
        (trial,) = unit.trials
        if trial.config.train.vmap_replicates and trial.step < trial.steps.total:
            alike[replicate_key(trial.config), trial.step].append(unit)
    return [group for group in alike.values() if len(group) > 1]


class Replicates(Unit):
    """Trials whose states are rows of one; a trial that is taken out leaves its row behind."""

    def __init__(self, units: Sequence[Alone]):
        """Takes over the states of units that are alike."""
        trials = [unit.trials[0] for unit in units]
        super().__init__(trials, jax.tree.map(lambda *leaves: jnp.stack(leaves), *(unit.state for unit in units)))
        flat = [flatten(trial.config) for trial in trials]
        self._hyperparameters = {
            name: jnp.asarray([values[name] for values in flat], jnp.float32) for name in HYPERPARAMETERS
        }
        self._rows = {trial: row for row, trial in enumerate(trials)}
        self._take = jax.jit(lambda states, row: jax.tree.map(lambda leaf: leaf[row], states))

    def update(self, batch):
        self.state, metrics = self._train_step.result()(self.state, self._hyperparameters, batch)
        return list(zip(self._rows, metrics, strict=True))

    def state_of(self, trial):
        return self._take(self.state, self._rows[trial])

    def _compiling(self):
        compiled = self.trials[0].compiled
        return compiled.compile(
            _vmapped_step(self.trials[0]),
            (compiled.replicated, compiled.replicated, compiled.sharded),
            self.state,
            self._hyperparameters,
            compiled.abstract_batch,
            donate_argnums=0,
        )


def _vmapped_step(trial: Trial) -> Callable:
    """`(states, hyperparameters, batch) -> (states, metrics of each)`."""

    def train_step(state, hyperparameters, batch):
        config = _with(trial.config, hyperparameters)
        optimizer, _ = optim.build(config.optim, trial.steps)
        return step.make_train_step(trial.compiled.model, optimizer, config)(state, batch)

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
