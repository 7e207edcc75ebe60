"""One trial in training: its state on the device, its clock, and what it writes to its folder."""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from mnet_jax.config.dotted import from_json
from mnet_jax.config.durations import in_steps
from mnet_jax.devices.mesh import device_name
from mnet_jax.pretrained import recipes
from mnet_jax.train import step
from mnet_jax.train.checkpoint import Checkpoints
from mnet_jax.train.compiled import CompiledSteps
from mnet_jax.train.evaluation import Tally
from mnet_jax.workdir.files import DONE, TrialFolder

_log = logging.getLogger(__name__)


class Diverged(Exception):
    """The training loss is no longer finite."""


@dataclasses.dataclass
class _Interval:
    """Steps whose metrics are on the device and not in the log yet."""

    last_step: int
    metrics: list[step.Metrics]


class Trial:
    """Trains step by step on batches that it is given; starts from the latest checkpoint in its folder.

    Steps are dispatched, not waited for: metrics and checkpoints of a step are read and written when the next one is on
    its way, so that the device always has work.

    Attributes:
      folder: of the trial.
      config: its resolved config.
      steps: its durations.
      step: updates dispatched so far.
      trials: itself; what the loop updates may also be several, as `Replicates`.
      programs: what it runs on the devices.
    """

    def __init__(self, folder: TrialFolder, programs: CompiledSteps):
        """Restores or initialises the state.

        Raises:
          UserError: a checkpoint or the weights to start from cannot be read.
        """
        self.folder = folder
        self.programs = programs
        self.config = from_json(folder.config_text())
        self.steps = in_steps(self.config, programs.num_train)
        self._checkpoints = Checkpoints(folder.checkpoints_path)
        self.trials = (self,)
        self._borrowed: Callable[[], step.TrainState] | None = None
        self._begin()
        self._interval = _Interval(self.step, [])
        self._unread: list[_Interval] = []
        self._snapshot: tuple[int, step.TrainState] | None = None
        self.start_clock()

    def start_clock(self) -> None:
        """What went before is no part of `wall_seconds`."""
        self._tick = time.monotonic()

    def update(self, batch: Mapping[str, jax.Array], timed: bool) -> "list[Update]":
        """Dispatches one optimizer update.

        Args:
          batch: {"image", "label"} on the devices.
          timed: the devices are idle; wait for the update.
        """
        start = time.monotonic()
        self._state, metrics = self.programs.train_step.result()(self._state, batch)
        seconds = None
        if timed:
            jax.block_until_ready(self._state)
            seconds = time.monotonic() - start
        return [Update(self, metrics, seconds)]

    def record(self, update: "Update") -> None:
        """Takes note of an update, then settles what earlier ones left; waits for the one before, to bound memory.

        Raises:
          Diverged: a loss that is read now is not finite.
        """
        self.step += 1
        if update.seconds is not None:
            self._clock["images"] += self.config.train.batch_size
            self._clock["train_seconds"] += update.seconds
        jax.block_until_ready(self._interval.metrics[-1:])
        self._interval.metrics.append(update.metrics)
        self._settle()
        if self.step % self.config.train.log_every_steps == 0 or self.step == self.steps.total:
            self._close_interval()

    @property
    def state(self) -> step.TrainState:
        """After `step` updates."""
        return self._borrowed() if self._borrowed else self._state

    def borrow_state(self, state: Callable[[], step.TrainState]) -> None:
        """From now on somebody else keeps the state and updates it."""
        self._borrowed, self._state = state, None

    def is_evaluation_due(self) -> bool:
        """True where the validation split is to be evaluated now, and was not before an interruption."""
        is_due = self.step > 0 and self.steps.is_due(self.step, self.steps.eval_every)
        return is_due and not any("top1" in row and row["step"] == self.step for row in self.folder.metrics())

    def is_checkpoint_due(self) -> bool:
        return self.step > 0 and self.steps.is_due(self.step, self.steps.checkpoint_every)

    def tally(self) -> Tally:
        """An evaluation of the network as it is now.

        Raises:
          Diverged: a loss so far is not finite.
        """
        self._close_interval()
        self._settle()
        return Tally(self.programs.eval_step.result(), self.state.evaluated())

    def log_validation(self, scores: dict) -> None:
        self._clock["wall_seconds"] += self._lap()
        row = {key: scores[key] for key in ("top1", "top5", "loss")}
        self._append(self.step, split="validation", **row)
        _log.info("%s: epoch %.2f: validation %s", self.folder.name, self._epoch(self.step), _as_text(row))

    def snapshot(self) -> None:
        """Copies the state on the device; the copy becomes a checkpoint when the next update is on its way."""
        self._close_interval()
        self._snapshot = self.step, jax.tree.map(jnp.copy, self.state)

    def save(self) -> None:
        """Writes a checkpoint of the present state, in the background.

        Raises:
          Diverged: a loss so far is not finite; nothing is saved then.
        """
        self.snapshot()
        self._settle()

    def finish(self, scores: dict) -> None:
        """Writes the result and the status `done`."""
        self._clock["wall_seconds"] += self._lap()
        self.save()
        self.close()
        clock = self._clock
        self.folder.set_result(
            {
                **{key: scores[key] for key in ("top1", "top5", "loss")},
                "test_images": scores["count"],
                "epochs": self.config.train.epochs,
                "steps": self.step,
                "images_per_second": self._speed(),
                "wall_seconds": round(clock["wall_seconds"], 1),
                "device": device_name(),
            }
        )
        self.folder.set_status(DONE)
        _log.info("%s: done: test %s", self.folder.name, _as_text(scores))

    def close(self) -> None:
        """Waits for the checkpoint that is being written."""
        self._checkpoints.close()

    def _begin(self) -> None:
        if self._checkpoints.latest_step() is None:
            self._state = self._with_imported_weights(self.programs.create.result()(np.int32(self.config.seed)))
            self._clock = {"images": 0, "train_seconds": 0.0, "wall_seconds": 0.0}
            self.step = 0
        else:
            state, self._clock = self._checkpoints.restore(self.programs.abstract_state)
            self._state = jax.device_put(state, self.programs.replicated)
            self.step = int(state.step)
            _log.info("%s: resumed from step %d of %d", self.folder.name, self.step, self.steps.total)
        self.folder.keep_metrics_until(self.step)

    def _with_imported_weights(self, state: step.TrainState) -> step.TrainState:
        """The state with the weights of `config.train.init_from`; a head for other classes stays as it is."""
        path = self.config.train.init_from
        if path is None:
            return state
        own = jax.device_get({"params": state.params, "batch_stats": state.batch_stats})
        variables = recipes.load(path, self.programs.model, own, fresh_head=self.config.train.epochs > 0)
        _log.info("%s: starts from the weights of %s", self.folder.name, path)
        ema = jax.device_put(variables, self.programs.replicated) if state.ema else None
        return state.replace(**jax.device_put(variables, self.programs.replicated), ema=ema)

    def _close_interval(self) -> None:
        """Leaves the steps since the last log to be read."""
        if self._interval.metrics:
            self._unread.append(dataclasses.replace(self._interval, last_step=self.step))
            self._interval = _Interval(self.step, [])

    def _settle(self) -> None:
        """Writes what closed intervals and the snapshot hold; waits for the steps that they come from."""
        for interval in self._unread:
            self._log_training(interval)
        self._unread = []
        if self._snapshot is not None:
            (at_step, state), self._snapshot = self._snapshot, None
            self._checkpoints.save(at_step, state, self._clock)
            self._clock["wall_seconds"] += self._lap()

    def _log_training(self, interval: _Interval) -> None:
        metrics = jax.device_get(interval.metrics)
        seconds = self._lap()
        self._clock["wall_seconds"] += seconds
        for at_step, values in enumerate(metrics, interval.last_step - len(metrics) + 1):
            if not math.isfinite(values["loss"]):
                raise Diverged(f"the loss of step {at_step} is {values['loss']}")
        self._append(
            interval.last_step,
            loss=float(np.mean([values["loss"] for values in metrics])),
            grad_norm=float(metrics[-1]["grad_norm"]),
            learning_rate=float(self.programs.schedule(interval.last_step - 1)),
            images_per_second=self._speed(),
            steps_per_second=len(metrics) / seconds,
        )

    def _speed(self) -> float | None:
        """Images per second of the updates that were timed."""
        clock = self._clock
        return round(clock["images"] / clock["train_seconds"], 1) if clock["images"] else None

    def _append(self, at_step: int, **row) -> None:
        counts = {"step": at_step, "total_steps": self.steps.total, "epoch": self._epoch(at_step)}
        self.folder.append_metrics(counts | row)

    def _epoch(self, at_step: int) -> float:
        return round(at_step / self.steps.per_epoch, 4)

    def _lap(self) -> float:
        """Seconds since the last lap."""
        previous, self._tick = self._tick, time.monotonic()
        return self._tick - previous


@dataclasses.dataclass(frozen=True)
class Update:
    """One optimizer update of a trial, dispatched.

    Attributes:
      trial: that was updated.
      metrics: on the device.
      seconds: that it took, if it was timed.
    """

    trial: Trial
    metrics: step.Metrics
    seconds: float | None


def _as_text(scores: dict) -> str:
    return f"top-1 {scores['top1']:.4f}, top-5 {scores['top5']:.4f}, loss {scores['loss']:.4f}"
