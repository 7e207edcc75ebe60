"""Trains what is not done of a sweep's trials, keeps the table current, draws the plots."""

import concurrent.futures
import contextlib
import errno
import os
import pathlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from mnet_jax.config.identity import ORDER
from mnet_jax.cost import limits
from mnet_jax.cost.layers import as_dict, count_network
from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.errors import UserError, nearest
from mnet_jax.report import findings, plots, tuning
from mnet_jax.sweep import plan
from mnet_jax.sweep.advice import advice
from mnet_jax.sweep.grid import Grid, axes, expand
from mnet_jax.sweep.launchers import registry
from mnet_jax.sweep.launchers.contract import Capacity, Launcher
from mnet_jax.sweep.progress import Progress
from mnet_jax.sweep.sources import check_sources, keep_source
from mnet_jax.sweep.trackers.registry import Tracking, check_trackers
from mnet_jax.sweep.tune import Tuning
from mnet_jax.train import bn_devices, inputs
from mnet_jax.workdir import predictions, results
from mnet_jax.workdir.files import DIVERGED, DONE, FAILED, TrialFolder, Workdir
from mnet_jax.workdir.software import command, software
from mnet_jax.workdir.table import Table
from mnet_jax.workdir.whole import Damaged

RETRIED = (FAILED, DIVERGED)

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE)  # what no program can help


def run(
    config: ConfigDict,
    grid: Grid,
    workdir: Workdir,
    launcher: str = "local",
    accept_changed_model: bool = False,
    retry: Collection[str] = (FAILED,),
) -> results.Rows:
    """Trains the trials that are not done, and returns the rows of all trials in the workdir.

    Args:
      config: the base of the sweep.
      grid: the trials, of which more are known when values are chosen; see `plan_trials`.
      workdir: of the sweep.
      launcher: see `launchers.registry.find`.
      accept_changed_model: go on where the source of a network of one's own changed since its trial was started.
      retry: which trials that ended without a result are trained again, of `RETRIED`.

    Raises:
      UserError: the workdir cannot be written, is in use or of an earlier version; data or a tracker's library are
        missing; or the source of a network changed. Nothing was trained then. Or the disk was full later on.
    """
    _check_words(retry)
    check_trackers(config.launch.trackers)
    workdir.check_place()
    engine = registry.find(launcher, pathlib.Path(config.folder or "."))(config.launch, workdir)
    known = grid.known(workdir)
    capacity = _prepared(known, workdir, engine, retry)
    with workdir.locked(), _told(workdir), Tracking(config.launch.trackers, workdir) as tracking:
        mend(workdir)
        check_version(workdir)
        _begin(config, grid, workdir, accept_changed_model)
        tracking.see(*map(workdir.trial, known))
        todo = not_done(known, workdir, retry)
        with Interruption() as interruption, Progress(*_count(grid, workdir)) as progress:
            for name, trial in known.items():
                if name not in todo and not is_done(workdir.trial(name), trial):
                    progress.leave_alone(workdir.trial(name))
            if line := advice(todo, capacity):
                progress.say(line)
            poll = _Poll(workdir, progress, tracking)
            try:
                while todo:
                    groups = plan.groups(todo, config.launch.trials_per_stream, capacity.places)
                    folders = [[workdir.trial(name) for name in group.trials] for group in groups]
                    engine.launch(folders, interruption, poll)
                    before, known = known, grid.known(workdir)
                    new = {name: trial for name, trial in known.items() if before.get(name) != trial}
                    todo = not_done(new, workdir, retry)
                    if new:
                        _begin(config, grid, workdir, accept_changed_model)
                        progress.num_trials = _count(grid, workdir)[0]
            except Interrupted as error:
                progress.say(f"stopped by {error}; run the same command again to go on")
        rows = _collect(workdir)
        tracking.show(_conclude(workdir, rows))
    return results.Rows(rows)


def _prepared(trials: Mapping[str, ConfigDict], workdir: Workdir, engine: Launcher, retry: Collection[str]) -> Capacity:
    """Looks whether the trials can be trained, prepares their data, and says where they will be; see `run`."""
    for trial in trials.values():
        inputs.check_workdir(trial, workdir.path)
    with concurrent.futures.ThreadPoolExecutor(1) as thread:  # looking for places takes as long
        counted = thread.submit(lambda: [count_network(trial) for trial in trials.values()])
        capacity = engine.capacity()
    counted.result()
    for name, trial in not_done(trials, workdir, retry).items():
        check_fits(workdir.trial(name), trial, capacity.num_devices, capacity.memory)
    with _told(workdir):
        inputs.prepare(*trials.values())
    return capacity


def _conclude(workdir: Workdir, rows: Sequence[results.Row]) -> list[str]:
    """Writes the law and draws the plots; returns their paths."""
    shares, _ = predictions.of_workdirs([workdir.path], rows)
    found = findings.find(rows, shares)
    findings.write(workdir, found)
    paths = plots.draw(workdir, found)
    return paths + tuning.draw(workdir, tuning.read([workdir.path]), rows)


def _count(grid: Grid, workdir: Workdir) -> tuple[int, int]:
    """How many trials and trial runs there will be, and how many of them have nothing left to do."""
    runs, finals = grid.runs(workdir), grid.finals(workdir)
    num_done = sum(is_done(workdir.trial(name), trial) for part in (runs, finals) for name, trial in part.items())
    return len(runs) + len(finals) + len(grid.waiting(workdir)), num_done


def _begin(config: ConfigDict, grid: Grid, workdir: Workdir, accept_changed_model: bool) -> None:
    """Makes the folders of the trials that are known, and writes what the sweep is."""
    trials = grid.known(workdir)
    accepted = check_sources(workdir, trials, accept_changed_model)
    costs = {name: count_network(trial) for name, trial in trials.items()}
    for name, trial in trials.items():
        keep_source(trial, workdir)
        workdir.trial(name).create(trial.to_dict(), as_dict(costs[name]))
    if (choices := grid.tuning(workdir)) is not None:
        workdir.set_tuning(choices)
    workdir.set_sweep(_description(config, workdir, costs, accepted))


def _check_words(retry: Collection[str]) -> None:
    if isinstance(retry, str):
        raise UserError(f"retry={retry!r}: must be several words, such as ({retry!r},)")
    for word in retry:
        if word not in RETRIED:
            raise UserError(f"retry={word!r}{nearest(word, RETRIED)} (known: {', '.join(RETRIED)})")


@contextlib.contextmanager
def _told(workdir: Workdir) -> Iterator[None]:
    """A disk that is full, or a folder that cannot be written any more, ends a sweep in one line."""
    try:
        yield
    except OSError as error:
        is_there = os.fspath(error.filename or "").startswith(os.fspath(workdir.path))
        if error.errno not in _DISK and not is_there:
            raise
        raise UserError(
            f"the sweep in {workdir.path} stopped: {error.strerror or error}"
            f"{f' ({error.filename})' if error.filename else ''}; what was saved stays, the same command goes on"
        ) from error


def run_sweep(
    config: ConfigDict,
    workdir: str | os.PathLike,
    overrides: Iterable[Mapping[str, Any]] | None = None,
    launcher: str | None = None,
    accept_changed_model: bool = False,
    retry: Collection[str] = (FAILED,),
    extend: bool = False,
) -> results.Rows:
    """Trains the trials of a config that are not done, in processes of their own, and draws the plots.

    What `python -m mnet_jax.sweep` does; running it again resumes. Ctrl-C saves checkpoints and returns what there is.

    Args:
      config: the base, with the axes in `config.sweep`, such as `get_preset("mnist5k")`.
      workdir: folder of the sweep.
      overrides: dicts of dotted keys, one per trial, instead of the product of the axes.
      launcher: "local", "ray", "slurm" or `package.module:function`; by default `config.launch.launcher`.
      accept_changed_model: go on where the source of a network of one's own changed since its trial was started.
      retry: which trials that ended without a result are trained again: "failed", "diverged" or both.
      extend: where the best value of a field in `config.tune` is at the edge of its range, try the next one.

    Returns:
      A row per trial in the workdir; "status" says what became of it.

    Raises:
      UserError: as `grid.expand` and `run`.
    """
    grid = plan_trials(config, overrides, extend, say=print)
    return run(config, grid, Workdir(workdir), launcher or config.launch.launcher, accept_changed_model, retry)


def plan_trials(
    config: ConfigDict,
    overrides: Iterable[Mapping[str, Any]] | None = None,
    extend: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Grid:
    """The trials of a sweep, and the trial runs where `config.tune` has axes; see `grid.expand` and `tune.Tuning`."""
    if axes(config, "tune"):
        return Tuning(config, overrides, extend, say)
    if extend or "tune_epochs" in config.get("chosen", ()):
        what = "extend" if extend else f"config.tune_epochs={config.tune_epochs!r}"
        raise UserError(f"{what} has no effect: the config has no axes in config.tune")
    return Grid(expand(config, overrides, say))


def not_done(
    trials: Mapping[str, ConfigDict], workdir: Workdir, retry: Collection[str] = (FAILED,)
) -> dict[str, ConfigDict]:
    """The trials that a sweep would train, by the names that they have in the workdir; `retry` as in `run`."""
    known = zip(workdir.known_as(trials), trials.values(), strict=True)
    left_alone = set(RETRIED) - set(retry)
    return {
        name: trial
        for name, trial in known
        if not is_done(workdir.trial(name), trial) and workdir.trial(name).status() not in left_alone
    }


def is_done(folder: TrialFolder, trial: ConfigDict) -> bool:
    """Whether nothing is left to do: of a trial run no evaluation on the validation split, of a trial none at all."""
    return bool(folder.validation()) if trial.tuning else folder.status() == DONE


def check_fits(folder: TrialFolder, trial: ConfigDict, num_devices: int, memory: int) -> None:
    """Refuses a trial that the devices of a process cannot train; their memory is in bytes, together.

    Raises:
      UserError: its batch is no multiple of them or cannot be normalised in such groups, it has no room, it would learn
        nothing, or it was begun on another number of devices and each keeps statistics of its own.
    """
    together = bn_devices.images_together(trial, num_devices)
    limits.check(folder.name, trial, count_network(trial), memory, together)
    if bn_devices.is_local(trial) and folder.saved_step():
        from mnet_jax.train.checkpoint import Checkpoints

        checkpoints = Checkpoints(folder.checkpoints_path, read_only=True)
        bn_devices.check_goes_on(folder.name, trial, checkpoints, num_devices)
        checkpoints.close()


def mend(workdir: Workdir) -> None:
    """Sets a damaged `sweep.json` aside, and says so.

    What the trials cost stands in their folders, too. That they saw their images in this version's order is taken for
    granted then, and a source that changed has to be accepted again.
    """
    try:
        workdir.sweep()
    except Damaged as error:
        print(f"{error}: now named {workdir.set_sweep_aside().name}")


def check_version(workdir: Workdir) -> None:
    """Refuses to mix trials that saw their examples in different orders.

    Raises:
      UserError: the workdir is of an earlier version.
    """
    if (sweep := workdir.sweep()) and sweep.get("order") != ORDER:
        raise UserError(
            f"{workdir.path} was made by an earlier version, in which trials saw their images in another order: its "
            "results can be reported, not gone on with; choose another --workdir"
        )


class _Poll:
    """Shows a trial's progress, also to trackers, and keeps the table current."""

    def __init__(self, workdir: Workdir, progress: Progress, tracking: Tracking):
        self._table, self._progress, self._tracking = Table(workdir), progress, tracking
        self._statuses: dict[str, str] = {}

    def __call__(self, folder: TrialFolder) -> None:
        status = folder.status()
        if status != self._statuses.get(folder.name):
            self._statuses[folder.name] = status
            self._table.change(folder.name)
        self._table.keep_current()
        self._progress.show(folder)
        self._tracking.see(folder)


def _collect(workdir: Workdir) -> list[results.Row]:
    rows = results.collect(workdir)
    results.write(workdir, rows)
    return rows


def _description(config: ConfigDict, workdir: Workdir, costs: Mapping, accepted: list[str]) -> dict[str, Any]:
    """What `sweep.json` says; the trials of earlier sweeps in the workdir, and those that are done, stay in it."""
    before = workdir.sweep().get("trials", {})
    counted = {name: {key: getattr(cost, key) for key in results.COSTS} for name, cost in costs.items()}
    done = [folder for folder in map(workdir.trial, counted) if folder.status() == DONE]
    for folder in done:
        as_trained = folder.cost()
        counted[folder.name] |= {key: as_trained[key] for key in results.COSTS if as_trained.get(key) is not None}
    return {
        "config": config.to_dict(),
        "axes": axes(config),
        "tuned": axes(config, "tune"),
        "trials": before | counted,
        "accepted_models": accepted,
        "order": ORDER,
        "command": command(),
        **software(),
    }
