"""Trains what is not done of a sweep's trials, keeps the table current, draws the plots."""

import concurrent.futures
import importlib.metadata
from typing import Any

from ml_collections import ConfigDict

from mnet_jax.cost.layers import count_network
from mnet_jax.data import cache
from mnet_jax.data.sources import split_fields
from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.pretrained import recipes
from mnet_jax.report import plots
from mnet_jax.report.tables import as_summary, as_table
from mnet_jax.sweep import plan
from mnet_jax.sweep.grid import axes
from mnet_jax.sweep.launchers import local
from mnet_jax.sweep.launchers.places import find_places
from mnet_jax.sweep.progress import Progress
from mnet_jax.workdir import results
from mnet_jax.workdir.files import DONE, Workdir

LAUNCHERS = {"local": local.launch}

_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "tensorflow-datasets", "numpy")


def run(config: ConfigDict, trials: dict[str, ConfigDict], workdir: Workdir, launcher: str) -> int:
    """Trains what is not done, keeps `results.csv` current, draws the plots; returns the exit code.

    Raises:
      UserError: the workdir cannot be written or is in use, or the data are missing; nothing was trained then.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as thread:  # looking for devices starts a process
        found = thread.submit(find_places, config.launch.devices_per_group)
        counted = {name: _counted(trial) for name, trial in trials.items()}
    places = found.result()
    with workdir.locked():
        for trial in {f"{trial.data}{split_fields(trial)}": trial for trial in trials.values()}.values():
            cache.check(trial.data, split_fields(trial))
        for trial in trials.values():
            recipes.check(trial)
        for name, trial in trials.items():
            workdir.trial(name).create(trial.to_dict())
        workdir.set_sweep(_description(config, counted))
        todo = _todo(trials, workdir)
        with Interruption() as interruption, Progress(len(trials), len(trials) - len(todo)) as progress:
            try:
                groups = plan.groups(todo, config.launch.trials_per_stream, len(places))
                folders = [[workdir.trial(name) for name in group.trials] for group in groups]
                LAUNCHERS[launcher](folders, places, workdir.output_path, interruption, _Poll(workdir, progress))
            except Interrupted as error:
                progress.say(f"stopped by {error}; run the same command again to go on")
        rows = _collect(workdir)
        plots.draw(workdir)
    print(*filter(None, (as_table(rows), as_summary(rows))), sep="\n\n")
    return _summarize(rows, workdir)


class _Poll:
    """Shows a trial's progress, and collects the results when a trial starts or ends."""

    def __init__(self, workdir: Workdir, progress: Progress):
        self._workdir, self._progress = workdir, progress
        self._statuses: dict[str, str] = {}

    def __call__(self, folder) -> None:
        status = folder.status()
        if status != self._statuses.get(folder.name):
            self._statuses[folder.name] = status
            _collect(self._workdir)
        self._progress.show(folder)


def _counted(trial: ConfigDict) -> dict[str, int]:
    total = count_network(trial)
    return {"mult_adds": total.mult_adds, "params": total.params}


def _todo(trials: dict[str, ConfigDict], workdir: Workdir) -> dict[str, ConfigDict]:
    return {name: trial for name, trial in trials.items() if workdir.trial(name).status() != DONE}


def _collect(workdir: Workdir) -> list[results.Row]:
    rows = results.collect(workdir)
    results.write(workdir, rows)
    return rows


def _description(config: ConfigDict, counted: dict[str, dict[str, int]]) -> dict[str, Any]:
    return {
        "config": config.to_dict(),
        "axes": axes(config),
        "trials": counted,
        "versions": {name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def _summarize(rows: list[results.Row], workdir: Workdir) -> int:
    unfinished = [row for row in rows if row["status"] != DONE]
    for row in unfinished:
        log = workdir.trial(row["trial"]).log_path
        print(f"{row['trial']} {row['status']}: {row['error'] or 'not trained yet'} (log: {log})")
    print(f"{len(rows) - len(unfinished)} of {len(rows)} trials done; table and plots: {workdir.path}")
    return 1 if unfinished else 0
