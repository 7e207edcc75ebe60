"""What is updated as one, and owns its state on the devices: a trial alone, or `replicates.Replicates`."""

from concurrent.futures import Future
from typing import Any

from mnet_jax.data.stream import Batch
from mnet_jax.train.step import Metrics, TrainState
from mnet_jax.train.trial import Trial
from mnet_jax.workdir.files import TrialFolder


class Unit:
    """Trials at the same step with one state and one compiled step.

    Attributes:
      trials: those that are still trained; one that fails or diverges is taken out.
      state: on the devices, after `step` updates.
    """

    def __init__(self, trials: list[Trial], state: Any, train_step: Future | None):
        """Takes over the state.

        Args:
          trials: at the same step.
          state: of all of them.
          train_step: compiles; None where nothing is left to train.
        """
        self.trials = trials
        self.state = state
        self._train_step = train_step

    @property
    def step(self) -> int:
        """Updates dispatched so far."""
        return self.trials[0].step

    @property
    def folders(self) -> list[TrialFolder]:
        return [trial.folder for trial in self.trials]

    def wait_until_compiled(self) -> None:
        """Raises what the compiler raised."""
        if self._train_step is not None:
            self._train_step.result()

    def update(self, batch: Batch) -> list[tuple[Trial, Metrics]]:
        """Dispatches one optimizer update; its metrics, on the devices, of every trial that began in the unit."""
        raise NotImplementedError

    def state_of(self, trial: Trial) -> TrainState:
        """The state of one of the trials; donated to the next update, so copy what is to outlive it."""
        raise NotImplementedError


class Alone(Unit):
    """One trial."""

    def __init__(self, trial: Trial, state: TrainState):
        """Takes over the state and begins to compile the step, where any is left to train."""
        is_trained = trial.step >= trial.steps.total
        super().__init__([trial], state, None if is_trained else trial.compiled.train_step)

    def update(self, batch):
        self.state, metrics = self._train_step.result()(self.state, batch)
        return [(self.trials[0], metrics)]

    def state_of(self, trial):
        return self.state
