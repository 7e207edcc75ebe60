"""Trains a list of trials that share one stream of batches."""

import collections
import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor

import jax
from jax.sharding import Mesh

from mnet_jax.config.dotted import from_json
from mnet_jax.config.identity import compile_key, replicate_key
from mnet_jax.data.stream import Batch, Stream, open_stream
from mnet_jax.devices.mesh import make_mesh
from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.errors import UserError
from mnet_jax.train.compiled import CompiledSteps, compilers
from mnet_jax.train.replicates import Replicates
from mnet_jax.train.trial import Diverged, Trial
from mnet_jax.workdir.files import DIVERGED, FAILED, QUEUED, RUNNING, TrialFolder

_log = logging.getLogger(__name__)

_TIMED = (1, 2, 3)  # steps after a start or an evaluation that are timed one by one, on idle devices

_LOCK_SECONDS = 60  # a worker whose sweep was killed leaves within this time


def train(folders: Sequence[TrialFolder], interruption: Interruption) -> None:
    """Trains trials whose `stream_key` is the same to their end, or until interrupted.

    Every step makes one batch, moves it to the devices once, and steps each trial on it. A trial that raises or
    diverges is recorded in its status and dropped; the others go on. One that is ahead of the others waits for them, so
    that no step that it has saved is trained again. On an interruption all save a checkpoint and go back to `queued`.

    Raises:
      Interrupted: the interruption had a reason; everything is saved.
    """
    mesh = make_mesh()
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
        self._config = from_json(folders[0].config_text())
        self._live: list[Trial] = []
        self._units: list[Trial | Replicates] = []
        self._streams: dict[str, Stream] = {}

    def run(self) -> None:
        try:
            try:
                self._start()
                self._train()
                for trial, scores in self._evaluate(self._live, self._config.data.test_split):
                    with self._recorded(trial):
                        trial.finish(scores)
            except Interrupted:
                raise
            except Exception as error:  # of the stream, which all trials need
                for folder in [trial.folder for trial in self._live] or self._folders:
                    _record_failure(folder, error)
        except Interrupted as error:
            self._leave(str(error))
            raise
        finally:
            decoded = sum(stream.num_decoded for stream in self._streams.values())
            _log.info("images decoded: %d, for %d trials", decoded, len(self._folders))

    def _start(self) -> None:
        num_train = self._open(self._config.data.train_split).num_examples if self._config.train.epochs else 0
        start = time.monotonic()
        with compilers() as threads:
            for folder, made in self._programs(num_train, threads):
                self._interruption.check()
                try:
                    self._live.append(Trial(folder, made))
                except Exception as error:
                    _record_failure(folder, error)
            self._units = self._form_units()
        count = len({id(trial.programs) for trial in self._live})
        seconds = time.monotonic() - start
        _log.info("compiled the steps of %d networks for %d trials in %.1f s", count, len(self._live), seconds)
        for trial in self._live:
            trial.start_clock()

    def _programs(self, num_train: int, threads: Executor) -> list[tuple[TrialFolder, CompiledSteps]]:
        """Begins to compile what each trial needs; a folder without a program is recorded as failed."""
        found, made = [], {}
        for folder in self._folders:
            self._interruption.check()
            folder.set_status(RUNNING)
            config = from_json(folder.config_text())
            key = compile_key(config)
            try:
                if key not in made:
                    made[key] = CompiledSteps(config, num_train, self._mesh, threads)
                found.append((folder, made[key]))
            except Exception as error:
                _record_failure(folder, error)
        return found

    def _form_units(self) -> list[Trial | Replicates]:
        """What is updated at a time: a trial, or trials at the same step of which the config wants one vmapped step."""
        alike = collections.defaultdict(list)
        for trial in [trial for trial in self._live if trial.step < trial.steps.total]:
            replicate = replicate_key(trial.config) if trial.config.train.vmap_replicates else trial.folder.name
            alike[replicate, trial.step].append(trial)
        units, compiling = [], {}
        for trials in alike.values():
            self._interruption.check()
            with self._recorded(*trials):
                if len(trials) > 1:
                    units.append(Replicates(trials))
                else:
                    compiling[trials[0]] = trials[0].programs.train_step
        for trial, train_step in compiling.items():
            self._interruption.check()
            with self._recorded(trial):
                train_step.result()
                units.append(trial)
        return units

    def _train(self) -> None:
        self._after_step(self._live)  # what an interruption left undone
        first = min((trial.step for trial in self._live), default=0)
        last = max((trial.steps.total for trial in self._live), default=0)
        if first == last:
            return
        stream = self._open(self._config.data.train_split)
        batches = stream.training_batches(self._config.train.batch_size, first, last)
        in_a_row = 0  # steps since the devices were last idle
        for step, batch in enumerate(batches, first):
            self._interruption.check()
            if timed := in_a_row in _TIMED:
                jax.block_until_ready([trial.state for trial in self._live])
            due = [unit for unit in self._units if unit.step == step]
            stepping = [trial for unit in due for trial in self._update(unit, batch, timed)]
            in_a_row = 0 if self._after_step(stepping) else in_a_row + 1
            if not self._live:
                return

    def _update(self, unit: Trial | Replicates, batch: Batch, timed: bool) -> list[Trial]:
        """Dispatches an update of the trials in the unit that are alive, and returns them."""
        alive = [trial for trial in unit.trials if trial in self._live]
        if not alive:
            return []
        updates = []
        with self._recorded(*alive):
            updates = unit.update(batch, timed)
        for update in updates:
            if update.trial in alive:
                with self._recorded(update.trial):
                    update.trial.record(update)
        return alive

    def _after_step(self, trials: Sequence[Trial]) -> bool:
        """Evaluates and saves where that is due; True if it evaluated."""
        due = []
        if self._config.data.validation_split:
            due = [trial for trial in trials if trial in self._live and trial.is_evaluation_due()]
        for trial, scores in self._evaluate(due, self._config.data.validation_split):
            with self._recorded(trial):
                trial.log_validation(scores)
        for trial in [trial for trial in trials if trial in self._live and trial.is_checkpoint_due()]:
            with self._recorded(trial):
                trial.snapshot()
        return bool(due)

    def _evaluate(self, trials: Sequence[Trial], split: str) -> list[tuple[Trial, dict]]:
        """The scores of trials that are evaluated on the same batches, one by one at the same time."""
        tallies = {}
        for trial in list(trials):
            with self._recorded(trial):
                tallies[trial] = trial.tally()
        if not tallies:
            return []
        for batch in self._open(split).evaluation_batches(self._config.train.batch_size):
            self._interruption.check()
            for trial in [trial for trial in tallies if trial in self._live]:
                with self._recorded(trial):
                    tallies[trial].add(batch)
        scores = []
        for trial in [trial for trial in tallies if trial in self._live]:
            with self._recorded(trial):
                scores.append((trial, tallies[trial].scores()))
        return scores

    def _open(self, split: str) -> Stream:
        if split not in self._streams:
            self._streams[split] = open_stream(self._config, split, self._mesh)
        return self._streams[split]

    def _leave(self, reason: str) -> None:
        for trial in list(self._live):
            with self._recorded(trial):
                trial.save()
                trial.close()
                trial.folder.set_status(QUEUED, f"stopped by {reason} at step {trial.step}")
                _log.info("%s: %s: saved step %d of %d", trial.folder.name, reason, trial.step, trial.steps.total)
        for folder in self._folders:
            if not any(trial.folder is folder for trial in self._live) and folder.status() == RUNNING:
                folder.set_status(QUEUED, f"stopped by {reason}")

    @contextlib.contextmanager
    def _recorded(self, *trials: Trial) -> Iterator[None]:
        """Writes what ends trials into their status and drops them; lets interruptions through."""
        try:
            yield
        except Interrupted:
            raise
        except Exception as error:
            for trial in trials:
                _record_failure(trial.folder, error)
            self._live = [trial for trial in self._live if trial not in trials]


def _record_failure(folder: TrialFolder, error: Exception) -> None:
    if isinstance(error, Diverged):
        folder.set_status(DIVERGED, str(error))
        _log.error("%s: diverged: %s", folder.name, error)
    else:
        message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        folder.set_status(FAILED, message)
        _log.error("%s: failed", folder.name, exc_info=error)
