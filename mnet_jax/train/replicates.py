"""Trials that differ only in their seed or a scalar of their training, as one vmapped step.

For devices that one network alone does not fill; `python -m benchmarks.replicates` measures it. The numbers are those
of separate trials to the rounding of float32, no more: products are summed in another order.
"""

import collections
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from mnet_jax.config.identity import compile_key
from mnet_jax.train import bn_devices
from mnet_jax.train.hyperparameters import values_of
from mnet_jax.train.units import Alone, Unit


def alike_ones(units: Sequence[Alone]) -> list[list[Alone]]:
    """Those that can be `Replicates`: at the same step, of one `identity.compile_key`, and the config wants it."""
    alike = collections.defaultdict(list)
    for unit in units:
        (trial,) = unit.trials
        if trial.config.train.vmap_replicates and trial.step < trial.steps.total:
            alike[compile_key(trial.config), trial.step].append(unit)
    return [group for group in alike.values() if len(group) > 1]


class Replicates(Unit):
    """Trials whose states are rows of one; a trial that is taken out leaves its row behind."""

    def __init__(self, units: Sequence[Alone]):
        """Takes over the states of units that are alike."""
        trials = [unit.trials[0] for unit in units]
        of_state = trials[0].compiled.of_state
        self._of_states = bn_devices.stacked(of_state)
        states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(unit.state for unit in units))
        super().__init__(trials, jax.device_put(states, self._of_states))
        values = [values_of(trial.config) for trial in trials]
        self._hyperparameters = jax.tree.map(lambda *numbers: jnp.stack(numbers), *values)
        self._rows = {trial: row for row, trial in enumerate(trials)}
        self._take = jax.jit(lambda states, row: jax.tree.map(lambda leaf: leaf[row], states), out_shardings=of_state)

    def update(self, batch):
        self.state, metrics = self._train_step.result()(self.state, self._hyperparameters, batch)
        return list(zip(self._rows, metrics, strict=True))

    def state_of(self, trial):
        return self._take(self.state, self._rows[trial])

    def _compiling(self):
        compiled = self.trials[0].compiled
        return compiled.compile(
            _vmapped(compiled.update),
            (self._of_states, compiled.replicated, compiled.sharded),
            self.state,
            self._hyperparameters,
            compiled.abstract_batch,
            out_shardings=(self._of_states, compiled.replicated),
            donate_argnums=0,
        )


def _vmapped(update: Callable) -> Callable:
    """`(states, hyperparameters, batch) -> (states, metrics of each)`."""

    def updates(states, hyperparameters, batch):
        states, metrics = jax.vmap(update, in_axes=(0, 0, None))(states, hyperparameters, batch)
        count = len(metrics["loss"])
        return states, [jax.tree.map(lambda values, i=i: values[i], metrics) for i in range(count)]

    return updates
