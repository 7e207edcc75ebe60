"""One trial in training: its state on the device, its compiled steps, its clock, and what it writes to its folder."""

import logging
import math
import time
from collections.abc import Callable, Iterable

import jax
import numpy as np
from jax.sharding import Mesh

from mnet_jax import config as config_lib
from mnet_jax import cost, models, optim, pretrained, runtime, step
from mnet_jax.checkpoint import Checkpoints
from mnet_jax.errors import UserError
from mnet_jax.evaluate import evaluate
from mnet_jax.workdir import DONE, RUNNING, TrialFolder

_log = logging.getLogger(__name__)


class Diverged(Exception):
    """The training loss is no longer finite."""


class Trial:
    """Trains step by step on batches that it is given; starts from the latest checkpoint in its folder.

    Attributes:
      folder: of the trial.
      config: its resolved config.
      steps: its durations.
      step: updates done so far.
    """

    def __init__(self, folder: TrialFolder, mesh: Mesh, num_train: int):
        """Restores or initialises the state and compiles the steps.

        Raises:
          UserError: the batch cannot be split among the devices, or a checkpoint cannot be read.
        """
        self.folder = folder
        self.config = config_lib.from_json(folder.config_text())
        self.steps = config_lib.steps(self.config, num_train)
        batch_size = self.config.train.batch_size
        if batch_size % mesh.size:
            raise UserError(f"config.train.batch_size={batch_size}: must be a multiple of the {mesh.size} devices")
        folder.set_status(RUNNING)
        self._replicated, self._sharded = runtime.replicated(mesh), runtime.sharded(mesh)
        self._checkpoints = Checkpoints(folder.checkpoints_path)
        self._build()
        self._pending: list[step.Metrics] = []
        self._tick = time.monotonic()

    def train_on(self, batch) -> None:
        """One optimizer update; logs where that is due.

        Raises:
          Diverged: a loss since the last log is not finite.
        """
        self._state, metrics = self._train_step(self._state, batch)
        self._pending.append(metrics)
        self.step += 1
        if self.step % self.config.train.log_every_steps == 0 or self.step == self.steps.total:
            self._log_training()

    def is_evaluation_due(self) -> bool:
        """True where the validation split is to be evaluated now, and was not before an interruption."""
        is_due = self.step > 0 and self.steps.is_due(self.step, self.steps.eval_every)
        return is_due and not any("top1" in row and row["step"] == self.step for row in self.folder.metrics())

    def is_checkpoint_due(self) -> bool:
        return self.step > 0 and self.steps.is_due(self.step, self.steps.checkpoint_every)

    def evaluate(self, batches: Iterable, on_batch: Callable[[], None]) -> dict:
        """Accuracy and loss on batches that are on the device; see `evaluate.evaluate`.

        Raises:
          Diverged: a loss since the last log is not finite.
        """
        self._log_training()
        scores = evaluate(self._eval_step, self._state.evaluated(), batches, on_batch)
        self._clock["wall_seconds"] += self._lap()
        return scores

    def log_validation(self, scores: dict) -> None:
        row = {key: scores[key] for key in ("top1", "top5", "loss")}
        self._append(split="validation", **row)
        _log.info("%s: epoch %.2f: validation %s", self.folder.name, self._epoch(), _as_text(row))

    def save(self) -> None:
        """Writes a checkpoint, in the background.

        Raises:
          Diverged: a loss since the last log is not finite; nothing is saved then.
        """
        self._log_training()
        self._checkpoints.save(self.step, self._state, self._clock)
        self._clock["wall_seconds"] += self._lap()

    def finish(self, scores: dict) -> None:
        """Writes the result and the status `done`."""
        self.save()
        self.close()
        counted = cost.of_config(self.config)
        clock = self._clock
        self.folder.set_result(
            {
                "mult_adds": counted.mult_adds,
                "params": counted.params,
                **{key: scores[key] for key in ("top1", "top5", "loss")},
                "test_images": scores["count"],
                "epochs": self.config.train.epochs,
                "steps": self.step,
                "images_per_second": round(clock["images"] / clock["train_seconds"], 1) if clock["images"] else None,
                "wall_seconds": round(clock["wall_seconds"], 1),
                "device": runtime.device_name(),
            }
        )
        self.folder.set_status(DONE)
        _log.info("%s: done: test %s", self.folder.name, _as_text(scores))

    def close(self) -> None:
        """Waits for the checkpoint that is being written."""
        self._checkpoints.close()

    def _build(self) -> None:
        start = time.monotonic()
        model = models.build(self.config.model)
        optimizer, self._schedule = optim.build(self.config.optim, self.steps)
        create = jax.jit(lambda: step.create_state(model, optimizer, self.config), out_shardings=self._replicated)
        abstract_state = jax.eval_shape(create)
        if self._checkpoints.latest_step() is None:
            self._state = self._with_imported_weights(create(), model)
            self._clock = {"images": 0, "train_seconds": 0.0, "wall_seconds": 0.0}
            self.step = 0
        else:
            state, self._clock = self._checkpoints.restore(abstract_state)
            self._state = jax.device_put(state, self._replicated)
            self.step = int(state.step)
            _log.info("%s: resumed from step %d of %d", self.folder.name, self.step, self.steps.total)
        self.folder.keep_metrics_until(self.step)
        self._compile(model, optimizer, abstract_state)
        _log.info("%s: built and compiled in %.1f s", self.folder.name, time.monotonic() - start)

    def _with_imported_weights(self, state: step.TrainState, model) -> step.TrainState:
        """The state with the weights of `config.train.init_from`; a head for other classes stays as it is."""
        path = self.config.train.init_from
        if path is None:
            return state
        own = jax.device_get({"params": state.params, "batch_stats": state.batch_stats})
        variables = pretrained.load(path, model, own, fresh_head=self.config.train.epochs > 0)
        _log.info("%s: starts from the weights of %s", self.folder.name, path)
        ema = jax.device_put(variables, self._replicated) if state.ema else None
        return state.replace(**jax.device_put(variables, self._replicated), ema=ema)

    def _compile(self, model, optimizer, abstract_state) -> None:
        data, batch_size = self.config.data, self.config.train.batch_size
        batch = {
            "image": jax.ShapeDtypeStruct((batch_size, data.image_size, data.image_size, data.channels), np.uint8),
            "label": jax.ShapeDtypeStruct((batch_size,), np.int32),
        }
        train_step = jax.jit(
            step.make_train_step(model, optimizer, self.config),
            in_shardings=(self._replicated, self._sharded),
            out_shardings=self._replicated,
            donate_argnums=0,
        )
        eval_step = jax.jit(
            step.make_eval_step(model, self.config),
            in_shardings=(self._replicated, self._sharded),
            out_shardings=self._replicated,
        )
        if self.steps.total:
            self._train_step = train_step.lower(abstract_state, batch).compile()
        mask = jax.ShapeDtypeStruct((batch_size,), np.float32)
        self._eval_step = eval_step.lower(abstract_state.evaluated(), batch | {"mask": mask}).compile()

    def _log_training(self) -> None:
        """Waits for the steps since the last log and writes their mean loss and speed."""
        if not self._pending:
            return
        pending = [{name: float(value) for name, value in metrics.items()} for metrics in self._pending]
        self._pending = []
        seconds = self._lap()
        images = len(pending) * self.config.train.batch_size
        self._clock["images"] += images
        self._clock["train_seconds"] += seconds
        self._clock["wall_seconds"] += seconds
        for offset, metrics in enumerate(pending, start=1 - len(pending)):
            if not math.isfinite(metrics["loss"]):
                raise Diverged(f"the loss of step {self.step + offset} is {metrics['loss']}")
        self._append(
            loss=float(np.mean([metrics["loss"] for metrics in pending])),
            grad_norm=pending[-1]["grad_norm"],
            learning_rate=float(self._schedule(self.step - 1)),
            images_per_second=images / seconds,
        )

    def _append(self, **row) -> None:
        self.folder.append_metrics(
            {
                "step": self.step,
                "total_steps": self.steps.total,
                "batch_size": self.config.train.batch_size,
                "epoch": self._epoch(),
            }
            | row
        )

    def _epoch(self) -> float:
        return round(self.step / self.steps.per_epoch, 4)

    def _lap(self) -> float:
        """Seconds since the last lap."""
        previous, self._tick = self._tick, time.monotonic()
        return self._tick - previous


def _as_text(scores: dict) -> str:
    return f"top-1 {scores['top1']:.4f}, top-5 {scores['top5']:.4f}, loss {scores['loss']:.4f}"
