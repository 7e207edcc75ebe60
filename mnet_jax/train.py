"""Trains a list of trials that share one stream of batches.

    python -m mnet_jax.train --config FILE [--config.field=value ...] [--workdir DIR]

trains one trial with the config's own values; the sweep's axes are ignored.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence

import jax
from absl import flags
from jax.sharding import Mesh

from mnet_jax import cli, pretrained, runtime
from mnet_jax import config as config_lib
from mnet_jax.data import sources
from mnet_jax.data.stream import Stream, open_stream
from mnet_jax.errors import UserError
from mnet_jax.signals import Interrupted, Interruption
from mnet_jax.trial import Diverged, Trial
from mnet_jax.workdir import DIVERGED, DONE, FAILED, QUEUED, RUNNING, TrialFolder, Workdir

_log = logging.getLogger(__name__)

_LOCK_SECONDS = 60  # a worker whose sweep was killed leaves within this time


def train(folders: Sequence[TrialFolder], interruption: Interruption) -> None:
    """Trains trials that share data, batch size, epochs and seed to their end, or until interrupted.

    Every step makes one host batch, moves it to the devices once, and steps each trial on it. A trial that raises or
    diverges is recorded in its status and dropped; the others go on. On an interruption all save a checkpoint and go
    back to `queued`.

    Raises:
      Interrupted: the interruption had a reason; everything is saved.
    """
    mesh = runtime.local_mesh()
    with contextlib.ExitStack() as locks:
        for folder in folders:
            locks.enter_context(folder.locked(_LOCK_SECONDS))
        _Loop(folders, mesh, interruption).run()


class _Loop:
    """The trials that are still alive, and the batches they share."""

    def __init__(self, folders: Sequence[TrialFolder], mesh: Mesh, interruption: Interruption):
        self._folders = folders
        self._interruption = interruption
        self._mesh = mesh
        self._config = config_lib.from_json(folders[0].config_text())
        self._live: list[Trial] = []
        self._streams: dict[str, Stream] = {}

    def run(self) -> None:
        try:
            self._start()
            self._train()
            for trial in list(self._live):
                with self._recorded(trial.folder, trial):
                    trial.finish(self._evaluate(trial, self._config.data.test_split))
        except Interrupted as error:
            self._leave(str(error))
            raise

    def _start(self) -> None:
        try:
            num_train = self._open(self._config.data.train_split).num_examples if self._config.train.epochs else 0
        except Exception as error:
            for folder in self._folders:
                _record_failure(folder, error)
            return
        for folder in self._folders:
            self._interruption.check()
            with self._recorded(folder):
                self._live.append(Trial(folder, self._mesh, num_train))

    def _train(self) -> None:
        for trial in list(self._live):  # what an interruption left undone
            with self._recorded(trial.folder, trial):
                self._after_step(trial)
        first = min((trial.step for trial in self._live), default=0)
        last = max((trial.steps.total for trial in self._live), default=0)
        if first == last:
            return
        stream = self._open(self._config.data.train_split)
        batches = stream.training_batches(self._config.train.batch_size, first, last)
        for step, batch in enumerate(batches, first):
            self._interruption.check()
            batch = self._to_devices(batch)
            for trial in [trial for trial in self._live if trial.step == step]:
                with self._recorded(trial.folder, trial):
                    trial.train_on(batch)
                    self._after_step(trial)
            if not self._live:
                return

    def _after_step(self, trial: Trial) -> None:
        """Evaluates and saves where that is due."""
        if self._config.data.validation_split and trial.is_evaluation_due():
            trial.log_validation(self._evaluate(trial, self._config.data.validation_split))
        if trial.is_checkpoint_due():
            trial.save()

    def _evaluate(self, trial: Trial, split: str) -> dict:
        batches = self._open(split).evaluation_batches(self._config.train.batch_size)
        return trial.evaluate(map(self._to_devices, batches), self._interruption.check)

    def _open(self, split: str) -> Stream:
        if split not in self._streams:
            self._streams[split] = open_stream(self._config, split)
        return self._streams[split]

    def _to_devices(self, batch):
        return jax.device_put(batch, runtime.sharded(self._mesh))

    def _leave(self, reason: str) -> None:
        for trial in list(self._live):
            with self._recorded(trial.folder, trial):
                trial.save()
                trial.close()
                trial.folder.set_status(QUEUED, f"stopped by {reason} at step {trial.step}")
                _log.info("%s: %s: saved step %d of %d", trial.folder.name, reason, trial.step, trial.steps.total)
        for folder in self._folders:
            if not any(trial.folder is folder for trial in self._live) and folder.status() == RUNNING:
                folder.set_status(QUEUED, f"stopped by {reason}")

    @contextlib.contextmanager
    def _recorded(self, folder: TrialFolder, trial: Trial | None = None) -> Iterator[None]:
        """Writes what ends a trial into its status and drops the trial; lets interruptions through."""
        try:
            yield
        except Interrupted:
            raise
        except Exception as error:
            _record_failure(folder, error)
            self._live = [other for other in self._live if other is not trial]


def _record_failure(folder: TrialFolder, error: Exception) -> None:
    if isinstance(error, Diverged):
        folder.set_status(DIVERGED, str(error))
        _log.error("%s: diverged: %s", folder.name, error)
    else:
        message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        folder.set_status(FAILED, message)
        _log.error("%s: failed", folder.name, exc_info=error)


def main(config) -> int:
    config = config_lib.resolve(config)
    sources.check(config.data, config_lib.splits(config))
    pretrained.check(config)
    directory = Workdir(flags.FLAGS.workdir or cli.default_workdir())
    folder = directory.trial(f"base-{config_lib.trial_hash(config)}")
    with directory.locked():
        folder.create(config.to_dict())
        runtime.configure(logging.FileHandler(folder.log_path))
        if folder.status() != DONE:
            with Interruption() as interruption, contextlib.suppress(Interrupted):
                train([folder], interruption)
    print(f"{folder.status()}: {folder.result() or folder.error()}", f"folder: {folder.path}", sep="\n")
    return 0 if folder.status() == DONE else 1


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the results; default: runs/<config file's stem>.")
    cli.run(main)
