"""Trains a list of trials that share one stream of batches."""

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence

import jax
from ml_collections import ConfigDict

from mnet_jax.config.dotted import from_json
from mnet_jax.config.identity import compile_key
from mnet_jax.data.stream import Batch, Stream, open_stream
from mnet_jax.devices.mesh import make_mesh
from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.errors import UserError
from mnet_jax.train.clock import Stopwatch
from mnet_jax.train.compiled import CompiledSteps, compilers
from mnet_jax.train.evaluation import Tally
from mnet_jax.train.precise_bn import Estimate, Variables
from mnet_jax.train.replicates import Replicates, alike_ones
from mnet_jax.train.step import TrainState
from mnet_jax.train.trial import Diverged, Trial
from mnet_jax.train.units import Alone, Unit
from mnet_jax.workdir.files import DIVERGED, DONE, FAILED, QUEUED, RUNNING, TrialFolder
from mnet_jax.workdir.lease import Held, Lease, Lost

_log = logging.getLogger(__name__)

_LOCK_SECONDS = (
    90  # a worker whose sweep was killed leaves within this time, and one whose node died is known to be dead
)


class OutOfMemory(Exception):
    """Several trials need more memory together than there is; fewer may fit."""


def train(folders: Sequence[TrialFolder], interruption: Interruption) -> None:
    """Trains trials whose `stream_key` is the same to their end, or until interrupted.

    Every step makes one batch, moves it to the devices once, and steps each trial on it. A trial that raises or
    diverges is recorded in its status and dropped; the others go on. One that is ahead of the others waits for them, so
    that no step that it has saved is trained again. On an interruption all save a checkpoint and go back to `queued`.

    Args:
      folders: of the trials, one or more; each has a `config.json`. One that is done is left alone.
      interruption: asked at every step.

    Raises:
      Interrupted: the interruption had a reason; everything is saved.
      Exception: of several processes, what was raised in this one; the trial cannot go on without it.
      OutOfMemory: there was more than one trial; what could be was saved, and those that have not ended are `running`.
      lease.Held: other processes train all of the trials; those that are trained elsewhere are left to them.
      lease.Lost: another process has taken over a trial, as this one was silent for too long.
    """
    with contextlib.ExitStack() as stack:
        leases = _leases(folders, stack)
        own = [folder for folder in folders if folder.name in leases and folder.status() != DONE]
        if own:
            _Loop(own, _Watch(interruption, list(leases.values()))).run()


def _leases(folders: Sequence[TrialFolder], stack: contextlib.ExitStack) -> dict[str, Lease | None]:
    """By name, of those trials that no other process trains; see `train`."""
    leases: dict[str, Lease | None] = {}
    deadline = time.monotonic() + _LOCK_SECONDS
    for folder in folders:
        try:
            lease = folder.locked(max(0.0, deadline - time.monotonic()))
            leases[folder.name] = stack.enter_context(lease)
        except Held as error:
            _log.warning("%s: left to %s", folder.name, error)
            if folder is folders[-1] and not leases:
                raise
    return leases


class _Watch:
    """Asked at every step: whether somebody wants this process to stop, or has taken a trial of its."""

    def __init__(self, interruption: Interruption, leases: Sequence[Lease | None]):
        self._interruption, self._leases = interruption, [held for held in leases if held is not None]

    def check(self) -> None:
        self._interruption.check()
        for held in self._leases:
            held.check()


class _Loop:
    """The trials that have not ended, in the units in which they are stepped, and the batches that they share."""

    def __init__(self, folders: Sequence[TrialFolder], interruption: _Watch):
        self._folders = list(folders)
        self._interruption = interruption
        self._mesh = make_mesh()
        self._config = from_json(folders[0].config_text())  # all that is read from it is the same in the others
        self._units: list[Unit] = []
        self._streams: dict[str, Stream] = {}

    def run(self) -> None:
        count = len(self._folders)
        try:
            self._start()
            self._train()
            finals = [trial for trial in self._trials if not trial.config.tuning]
            for trial, variables, scores in self._evaluate(finals, self._config.data.test_split):
                with self._recorded(trial.folder):
                    trial.finish(self._state_of(trial), variables, scores)
            for trial in [trial for trial in self._trials if trial.config.tuning]:
                with self._recorded(trial.folder):
                    trial.end_tuning()
        except Interrupted as error:
            self._leave(str(error))
            raise
        except Lost:
            raise
        except Exception as error:  # of the stream, which all trials need
            if self._is_too_much(error):
                self._save_what_can_be()
                raise OutOfMemory(str(error)) from error
            for folder in self._folders:
                _record_failure(folder, error)
            if jax.process_count() > 1:
                raise
        finally:
            decoded = sum(stream.num_decoded for stream in self._streams.values())
            _log.info("images decoded: %d, for %d trials", decoded, count)

    def _start(self) -> None:
        """Makes the units: compiles what they need, side by side, and restores or initialises their states."""
        num_train = self._stream(self._config.data.train_split).num_examples if self._config.train.epochs else 0
        start = time.monotonic()
        compiled: dict[str, CompiledSteps] = {}
        opened: list[tuple[TrialFolder, ConfigDict, CompiledSteps]] = []
        with compilers() as threads:
            for folder in list(self._folders):
                self._interruption.check()
                with self._recorded(folder):
                    folder.set_status(RUNNING)
                    config = from_json(folder.config_text())
                    key = compile_key(config)
                    if key not in compiled:
                        compiled[key] = CompiledSteps(config, num_train, self._mesh, threads)
                    opened.append((folder, config, compiled[key]))
            for folder, config, own_steps in opened:
                self._interruption.check()
                with self._recorded(folder):
                    trial = Trial(folder, config, own_steps)
                    self._units.append(Alone(trial, trial.begin()))
            for alike in alike_ones(self._units):
                with self._recorded(*(unit.trials[0].folder for unit in alike)):
                    together = Replicates(alike)
                    self._units = [unit for unit in self._units if unit not in alike] + [together]
            for unit in list(self._units):
                self._interruption.check()
                with self._recorded(*unit.folders):
                    unit.compile()
            for unit in list(self._units):
                self._interruption.check()
                with self._recorded(*unit.folders):
                    unit.wait_until_compiled()
        networks = len({id(trial.compiled) for trial in self._trials})
        seconds = time.monotonic() - start
        _log.info("compiled the steps of %d networks for %d trials in %.1f s", networks, len(self._trials), seconds)

    def _train(self) -> None:
        stopwatch = Stopwatch()
        for trial in self._trials:
            trial.clock.start()
        self._validate(self._trials)  # what an interruption left undone
        self._save(self._trials)
        for step, batch in self._batches():
            self._interruption.check()
            stopwatch.next_step(batch, [unit.state for unit in self._units])
            due = [unit for unit in self._units if unit.step == step]  # one that is ahead waits
            for unit in stopwatch.in_turn(due):
                with self._recorded(*unit.folders):
                    updates, seconds = stopwatch.run(unit.update, batch)
                    for trial, metrics in updates:
                        if trial in unit.trials:
                            with self._recorded(trial.folder):
                                trial.log(metrics, seconds)
            stepped = [trial for unit in due for trial in unit.trials]
            if self._validate(stepped):
                stopwatch.restart()
            self._save(stepped)

    def _batches(self) -> Iterator[tuple[int, Batch]]:
        """Each step that a trial lacks, and its batch; where those that lag behind are dropped, it skips ahead."""
        last = max((trial.steps.total for trial in self._trials), default=0)
        while self._units and (first := self._first_step()) < last:
            stream = self._stream(self._config.data.train_split)
            with contextlib.closing(stream.training_batches(self._config.train.batch_size, first, last)) as batches:
                for step, batch in enumerate(batches, first):
                    yield step, batch
                    if not self._units or self._first_step() > step + 1:
                        break

    def _first_step(self) -> int:
        return min(unit.step for unit in self._units)

    def _validate(self, trials: Sequence[Trial]) -> bool:
        """Evaluates those for which that is due on the validation split; True if there are any."""
        split = self._config.data.validation_split
        due = [trial for trial in trials if split and trial.is_evaluation_due()]
        for trial, _, scores in self._evaluate(due, split):
            with self._recorded(trial.folder):
                trial.log_validation(scores)
        return bool(due)

    def _save(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial in self._trials and trial.is_checkpoint_due():
                with self._recorded(trial.folder):
                    trial.save(self._state_of(trial))

    def _evaluate(self, trials: Sequence[Trial], split: str) -> list[tuple[Trial, Variables, dict]]:
        """Variables and scores of trials that are evaluated on the same batches, one by one at the same time."""
        estimates = self._estimated(trials)
        tallies: dict[Trial, Tally] = {}
        for trial in [trial for trial in estimates if trial in self._trials]:
            with self._recorded(trial.folder):
                compiled, variables = trial.compiled, estimates[trial].variables
                tallies[trial] = Tally(compiled.task, compiled.eval_step.result(), variables)
        if not tallies:
            return []
        for batch in self._stream(split).evaluation_batches(self._config.train.batch_size):
            self._interruption.check()
            for trial in [trial for trial in tallies if trial in self._trials]:
                with self._recorded(trial.folder):
                    tallies[trial].add(batch)
        scores = []
        for trial in [trial for trial in tallies if trial in self._trials]:
            with self._recorded(trial.folder):
                scores.append((trial, estimates[trial].variables, tallies[trial].scores()))
        return scores

    def _estimated(self, trials: Sequence[Trial]) -> dict[Trial, Estimate]:
        """The variables that are evaluated, with batch statistics from training batches that the trials share."""
        estimates: dict[Trial, Estimate] = {}
        for trial in trials:
            with self._recorded(trial.folder):
                trial.flush()
                estimates[trial] = Estimate(trial.compiled, self._state_of(trial))
        if last := max((estimate.num_batches for estimate in estimates.values()), default=0):
            stream = self._stream(self._config.data.train_split)
            with contextlib.closing(stream.training_batches(self._config.train.batch_size, 0, last)) as batches:
                for step, batch in enumerate(batches):
                    self._interruption.check()
                    for trial in [trial for trial in estimates if trial in self._trials]:
                        with self._recorded(trial.folder):
                            estimates[trial].add(step, batch)
        return estimates

    @property
    def _trials(self) -> list[Trial]:
        return [trial for unit in self._units for trial in unit.trials]

    def _state_of(self, trial: Trial) -> TrainState:
        return next(unit.state_of(trial) for unit in self._units if trial in unit.trials)

    def _stream(self, split: str) -> Stream:
        if split not in self._streams:
            self._streams[split] = open_stream(self._config, split, self._mesh)
        return self._streams[split]

    def _leave(self, reason: str) -> None:
        """Saves every trial and puts it back into the queue."""
        for trial in self._trials:
            with self._recorded(trial.folder):
                trial.save(self._state_of(trial))
                trial.close()
                trial.folder.set_status(QUEUED, f"stopped by {reason} at step {trial.step}")
                _log.info("%s: %s: saved step %d of %d", trial.folder.name, reason, trial.step, trial.steps.total)
        for folder in self._folders:
            if not any(trial.folder is folder for trial in self._trials) and folder.status() == RUNNING:
                folder.set_status(QUEUED, f"stopped by {reason}")

    def _is_too_much(self, error: Exception) -> bool:
        """Whether memory ran out that fewer trials would not need."""
        is_xla = isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
        return (is_xla or isinstance(error, MemoryError)) and len(self._folders) > 1

    def _save_what_can_be(self) -> None:
        for trial in self._trials:
            try:
                trial.save(self._state_of(trial))
                trial.close()
            except Exception as error:  # its buffers were given to the step that failed, or memory runs out again
                _log.warning("%s: step %d is lost: %s", trial.folder.name, trial.step, error)

    @contextlib.contextmanager
    def _recorded(self, *folders: TrialFolder) -> Iterator[None]:
        """Writes what ends trials into their status and drops them; lets interruptions through."""
        try:
            yield
        except (Interrupted, Lost):
            raise
        except Exception as error:
            others_wait = jax.process_count() > 1 and not isinstance(error, Diverged)  # which all of them see
            if self._is_too_much(error) or others_wait:
                raise
            for folder in folders:
                _record_failure(folder, error)
            self._folders = [folder for folder in self._folders if folder not in folders]
            for unit in self._units:
                unit.trials = [trial for trial in unit.trials if trial.folder not in folders]
            self._units = [unit for unit in self._units if unit.trials]


def _record_failure(folder: TrialFolder, error: Exception) -> None:
    if isinstance(error, Diverged):
        folder.set_status(DIVERGED, str(error))
        _log.error("%s: diverged: %s", folder.name, error)
    else:
        message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        folder.set_status(FAILED, message)
        _log.error("%s: failed", folder.name, exc_info=error)
