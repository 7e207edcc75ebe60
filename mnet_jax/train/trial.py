"""One trial in training: how far it is, its clock, and what it writes to its folder."""

import dataclasses
import functools
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mnet_jax.config.tasks import scores_of
from mnet_jax.devices.mesh import device_name
from mnet_jax.pretrained import recipes
from mnet_jax.train import bn_devices, optim
from mnet_jax.train.checkpoint import Checkpoints
from mnet_jax.train.clock import Clock
from mnet_jax.train.compiled import CompiledSteps
from mnet_jax.train.step import Metrics, TrainState
from mnet_jax.workdir.files import DONE, TUNED, TrialFolder
from mnet_jax.workdir.software import software

_log = logging.getLogger(__name__)


class Diverged(Exception):
    """The training loss is no longer finite."""


class Trial:
    """What a trial knows but its state, which a `units.Unit` owns and hands in where it is to be kept.

    Updates are dispatched, not waited for: the metrics and the checkpoint of a step are read and written when the next
    update is on its way, so that the devices always have work.

    Attributes:
      folder: of the trial.
      config: its resolved config.
      compiled: its steps.
      steps: its durations.
      step: updates dispatched so far.
      clock: of the trial so far.
    """

    def __init__(self, folder: TrialFolder, config: ConfigDict, compiled: CompiledSteps):
        self.folder = folder
        self.config = config
        self.compiled = compiled
        self.steps = compiled.steps
        self.step = 0
        _, self._schedule = optim.build(config.optim, self.steps)
        self.clock = Clock()
        self._software = software()
        self._checkpoints = Checkpoints(folder.checkpoints_path)
        self._metrics: list[Metrics] = []  # of the steps since the last row of the log
        self._unwritten: list[Callable[[], None]] = []

    def begin(self) -> TrainState:
        """The state of the latest sound checkpoint, or else a new one, with the weights of `config.train.init_from`.

        Raises:
          UserError: the checkpoint is of another network or number of devices, or the weights cannot be read.
        """
        bn_devices.check_goes_on(self.folder.name, self.config, self._checkpoints, self.compiled.num_devices)
        saved = self._checkpoints.restore(self.compiled.abstract_state)
        if saved is None:
            if self.folder.metrics():
                _log.warning("%s: no checkpoint is left: the trial begins again", self.folder.name)
            state = self._with_imported_weights(self.compiled.create.result()(np.int32(self.config.seed)))
        else:
            restored, clock = saved
            state = jax.device_put(restored, self.compiled.of_state)
            self.clock = Clock(**clock)
            self.step = int(restored.step)
            _log.info("%s: resumed from step %d of %d", self.folder.name, self.step, self.steps.total)
        self.folder.keep_metrics_until(self.step)
        return state

    def log(self, metrics: Metrics, seconds: float | None) -> None:
        """Takes note of an update that is on its way, and writes what earlier ones left; memory stays bounded.

        Args:
          metrics: of the update, on the devices.
          seconds: that it took, if it was timed.

        Raises:
          Diverged: a loss that is read now is not finite.
        """
        self.step += 1
        if seconds is not None:
            self.clock.count(self.config.train.batch_size, seconds)
        jax.block_until_ready(self._metrics[-1:])
        self._metrics.append(metrics)
        self._write()
        if self.step % self.config.train.log_every_steps == 0 or self.step == self.steps.total:
            self._end_row()

    def flush(self) -> None:
        """Waits for the updates so far and writes what they left.

        Raises:
          Diverged: a loss is not finite.
        """
        self._end_row()
        self._write()

    def is_evaluation_due(self) -> bool:
        """True where the validation split is to be evaluated now, and was not before an interruption."""
        is_due = self.step > 0 and self.steps.is_due(self.step, self.steps.eval_every)
        return is_due and not (self._is_logged() and (self.step < self.steps.total or self.folder.validation()))

    def is_checkpoint_due(self) -> bool:
        return self.step > 0 and self.steps.is_due(self.step, self.steps.checkpoint_every)

    def log_validation(self, scores: Mapping[str, float]) -> None:
        """Writes the row of an evaluation, as `Tally.scores` returns it, and the last one to a file of its own."""
        self.clock.lap()
        row = self._reached(scores)
        if not self._is_logged():
            self._append(self.step, split="validation", **row)
        if self.step == self.steps.total:
            self.folder.set_validation(row | {"images": scores["count"], **self.compiled.task.validation(scores)})
        _log.info("%s: epoch %.2f: validation %s", self.folder.name, self._epoch(self.step), self._in_words(row))

    def save(self, state: TrainState, anew: bool = False) -> None:
        """Copies the present state on the devices; `log`, `flush` or `close` makes a checkpoint of the copy.

        It is written after the losses of the same steps were read: no state that diverged is kept. A checkpoint of this
        step stays as it is, unless it is to be written `anew`.
        """
        self._end_row()
        state = jax.device_put(jax.tree.map(jnp.copy, state), self.compiled.replicated)
        self._unwritten.append(functools.partial(self._write_checkpoint, self.step, state, anew))

    def close(self) -> None:
        """As `flush`, and waits for the checkpoint that is being written."""
        self.flush()
        self._checkpoints.close()

    def end_tuning(self) -> None:
        """The status `tuned`: the trial is at its end, evaluated on the validation split and no other."""
        self.clock.lap()
        self.close()
        self.folder.set_status(TUNED)
        _log.info("%s: tuned", self.folder.name)

    def finish(self, state: TrainState, variables: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """Writes the last checkpoint, which images are right, the result, and the status `done`.

        Args:
          state: at the end.
          variables: that were evaluated; the checkpoint has them where their statistics were estimated anew.
          scores: on the test split, as `Tally.scores` returns them.
        """
        self.clock.lap()
        is_estimated = self.compiled.precise_batches > 0
        if is_estimated:
            state = state.with_evaluated(self.compiled.as_kept(variables))
        self.save(state, anew=is_estimated)
        self.close()
        result: dict[str, Any] = {
            **self._reached(scores),
            **self.compiled.task.result(scores),
            "test_images": scores["count"],
            "epochs": self.steps.epochs,
            "steps": self.step,
            "images_per_second": self.clock.images_per_second(),
            "wall_seconds": round(self.clock.wall_seconds, 1),
            "device": device_name(),
            **self._software,
        }
        if (class_names := self.config.data.get("class_names")) is not None:
            result["classes"] = list(class_names)
        self.folder.set_predictions(self.compiled.task.outcomes(scores))
        self.folder.set_result(result)
        self.folder.set_status(DONE)
        _log.info("%s: done: test %s", self.folder.name, self._in_words(scores))

    def _with_imported_weights(self, state: TrainState) -> TrainState:
        """The state with the weights of `config.train.init_from`; a head for other classes stays as it is."""
        path = self.config.train.init_from
        if path is None:
            return state
        own = jax.device_get(self.compiled.evaluated(state))
        variables = recipes.load(path, self.compiled.model, own, fresh_head=self.config.train.epochs > 0)
        _log.info("%s: starts from the weights of %s", self.folder.name, path)
        ema = self.compiled.as_kept(variables) if state.ema else None
        return state.replace(**self.compiled.as_kept(variables), ema=ema)

    def _is_logged(self) -> bool:
        """Whether the evaluation on the validation split at this step is in the log."""
        return any("split" in row and row["step"] == self.step for row in self.folder.metrics())

    def _reached(self, scores: Mapping[str, Any]) -> dict[str, float]:
        """What rows and results have of an evaluation."""
        return {name: scores[name] for name in (*(score.column for score in scores_of(self.config)), "loss")}

    def _in_words(self, scores: Mapping[str, Any]) -> str:
        parts = [f"{score.words} {scores[score.column]:.4f}" for score in scores_of(self.config)]
        return ", ".join([*parts, f"loss {scores['loss']:.4f}"])

    def _end_row(self) -> None:
        """Leaves a row of the log to be written, of the steps since the last one."""
        if self._metrics:
            self._unwritten.append(functools.partial(self._write_row, self.step, self._metrics))
            self._metrics = []

    def _write(self) -> None:
        """Writes rows and checkpoints in their order; waits for the steps that they come from."""
        while self._unwritten:
            self._unwritten.pop(0)()

    def _write_row(self, last_step: int, metrics: list[Metrics]) -> None:
        metrics = jax.device_get(metrics)
        seconds = self.clock.lap()
        for at_step, values in enumerate(metrics, last_step - len(metrics) + 1):
            if not math.isfinite(values["loss"]):
                raise Diverged(f"the loss of step {at_step} is {values['loss']}")
        self._append(
            last_step,
            loss=float(np.mean([values["loss"] for values in metrics])),
            grad_norm=float(metrics[-1]["grad_norm"]),
            learning_rate=float(self._schedule(last_step - 1)),
            images_per_second=self.clock.images_per_second(),
            steps_per_second=len(metrics) / seconds,
        )

    def _write_checkpoint(self, at_step: int, state: TrainState, anew: bool) -> None:
        self._checkpoints.save(at_step, state, dataclasses.asdict(self.clock), anew)
        self.clock.lap()

    def _append(self, at_step: int, **row) -> None:
        counts = {"step": at_step, "total_steps": self.steps.total, "epoch": self._epoch(at_step)}
        self.folder.append_metrics(counts | row)

    def _epoch(self, at_step: int) -> float:
        return round(at_step / self.steps.per_epoch, 4)
