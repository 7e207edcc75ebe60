"""What is updated as one, and owns its state on the devices: a trial alone, or `replicates.Replicates`."""

from concurrent.futures import Future
from typing import Any

import jax

from mnet_jax.data.stream import Batch
from mnet_jax.train.hyperparameters import values_of
from mnet_jax.train.step import Metrics, TrainState
from mnet_jax.train.trial import Trial
from mnet_jax.workdir.files import TrialFolder


class Unit:
    """Trials at the same step with one state and one compiled step.

    Attributes:
      trials: those that are still trained; one that fails or diverges is taken out.
      state: on the devices, after `step` updates.
    """

    def __init__(self, trials: list[Trial], state: Any):
        self.trials = trials
        self.state = state
        self._train_step: Future | None = None

    @property
    def step(self) -> int:
        """Updates dispatched so far."""
        return self.trials[0].step

    @property
    def folders(self) -> list[TrialFolder]:
        return [trial.folder for trial in self.trials]

    def compile(self) -> None:
        """Traces the training step and begins to compile it, where any update is left."""
        if self.step < self.trials[0].steps.total:
            self._train_step = self._compiling()

    def wait_until_compiled(self) -> None:
        """Raises what the compiler raised."""
        if self._train_step is not None:
            self._train_step.result()

    def update(self, batch: Batch) -> list[tuple[Trial, Metrics]]:
        """Dispatches one optimizer update; its metrics, on the devices, of every trial that began in the unit."""
        raise NotImplementedError

    def state_of(self, trial: Trial) -> TrainState:
        """The state of one of the trials; the next update may overwrite it."""
        raise NotImplementedError

    def _compiling(self) -> Future:
        raise NotImplementedError


class Alone(Unit):
    """One trial."""

    def __init__(self, trial: Trial, state: TrainState):
        super().__init__([trial], state)
        self._hyperparameters = jax.device_put(values_of(trial.config), trial.compiled.replicated)

    def update(self, batch):
        self.state, metrics = self._train_step.result()(self.state, self._hyperparameters, batch)
        return [(self.trials[0], metrics)]

    def state_of(self, trial):
        return self.state

    def _compiling(self):
        return self.trials[0].compiled.train_step
