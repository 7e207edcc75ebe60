"""Trains every trial of a config's grid that is not done, then collects and reports.

    python -m mnet_jax.sweep --config configs/width.py [--config.field=value ...] [--workdir DIR] [--launcher local]
                             [--dry_run]

Running it again resumes: done trials are skipped, others go on from their last checkpoint.
"""

import concurrent.futures
import importlib.metadata
import itertools
import runpy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from absl import flags
from ml_collections import ConfigDict

from mnet_jax import cli, cost, plan, pretrained, report, results, runtime
from mnet_jax import config as config_lib
from mnet_jax.data import cache
from mnet_jax.errors import UserError
from mnet_jax.launchers import local
from mnet_jax.progress import Progress
from mnet_jax.signals import Interrupted, Interruption
from mnet_jax.workdir import DONE, Workdir

LAUNCHERS = {"local": local.launch}

_FIRST_AXES = ("model.name", "model.alpha", "input_size")  # the others follow by name

_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "tensorflow-datasets", "numpy")


def expand(config: ConfigDict, overrides: Iterator[Mapping[str, Any]] | None = None) -> dict[str, ConfigDict]:
    """The trials of a sweep: their resolved configs by name, in the order of the axes. The base is checked too.

    Args:
      config: the base, with the axes in `config.sweep`.
      overrides: dicts of dotted keys, one per trial, instead of the product of the axes.

    Raises:
      UserError: an axis names no field, or a trial's value is invalid or stands there twice.
    """
    config_lib.resolve(config)
    if overrides is None:
        overrides = _product(axes(config))
    trials: dict[str, ConfigDict] = {}
    for override in overrides:
        resolved = config_lib.resolve(config, override)
        name = trial_name(override, resolved)
        if name in trials:
            raise UserError(f"the sweep has trial {name} twice")
        trials[name] = resolved
    if not trials:
        raise UserError("the sweep has no trials")
    return trials


def axes(config: ConfigDict) -> dict[str, tuple]:
    """The swept fields, by dotted key, and their values; an empty tuple is no axis."""
    swept = config_lib.flatten(config.sweep)
    for key, values in swept.items():
        if not isinstance(values, tuple):
            raise UserError(f"config.sweep.{key}={values!r}: must be a tuple of values")
    ordered = sorted(swept, key=lambda key: (_FIRST_AXES.index(key) if key in _FIRST_AXES else len(_FIRST_AXES), key))
    return {key: swept[key] for key in ordered if swept[key]}


def trial_name(override: Mapping[str, Any], resolved: ConfigDict) -> str:
    """Readable and unique: the overrides (by their last name where that is clear), then the hash of the config.

    Of a path the file's name is enough.
    """
    leaves = [key.rpartition(".")[2] for key in override]
    flat = config_lib.flatten(resolved)
    parts = [
        f"{leaf if leaves.count(leaf) == 1 and leaf not in resolved else key}={str(flat[key]).rpartition('/')[2]}"
        for key, leaf in zip(override, leaves, strict=True)
    ]
    return f"{','.join(parts) or 'base'}-{config_lib.trial_hash(resolved)}"


def run(config: ConfigDict, trials: dict[str, ConfigDict], workdir: Workdir, launcher: str) -> int:
    """Trains what is not done, keeps `results.csv` current, draws the plots; returns the exit code.

    Raises:
      UserError: the workdir cannot be written or is in use, or the data are missing; nothing was trained then.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as thread:  # looking for devices starts a process
        found = thread.submit(runtime.places, config.launch.devices_per_group)
        counted = {name: _counted(trial) for name, trial in trials.items()}
    places = found.result()
    with workdir.locked():
        for trial in {f"{trial.data}{config_lib.splits(trial)}": trial for trial in trials.values()}.values():
            cache.check(trial.data, config_lib.splits(trial))
        for trial in trials.values():
            pretrained.check(trial)
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
        report.draw(workdir)
    print(*filter(None, (report.as_table(rows), report.as_summary(rows))), sep="\n\n")
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


def _product(axes: Mapping[str, tuple]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _counted(trial: ConfigDict) -> dict[str, int]:
    total = cost.of_config(trial)
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


def _dry_run(config: ConfigDict, trials: dict[str, ConfigDict], workdir: Workdir) -> int:
    rows = []
    for name, trial in trials.items():
        row = dict.fromkeys(results.COLUMNS) | {"trial": name, "status": workdir.trial(name).status()}
        rows.append(row | _counted(trial))
    print(report.as_table(rows, ("trial", "mult_adds", "params", "status")))
    places = runtime.places(config.launch.devices_per_group)
    groups = plan.groups(_todo(trials, workdir), config.launch.trials_per_stream, len(places))
    print(*_plan_lines(groups, len(places)), sep="\n")
    return 0


def _plan_lines(groups: Sequence[plan.Group], num_places: int) -> Iterator[str]:
    """Which trials share a stream, in the order in which each place would train them."""
    whole = sum(group.cost for group in groups)
    for i, part in enumerate(plan.assign(groups, num_places), 1):
        for group in part:
            sharing = f"{len(group.trials)} trials share a stream" if len(group.trials) > 1 else "1 trial"
            names = " ".join(name.rpartition("-")[0] for name in group.trials)
            yield f"process {i} of {num_places}: {sharing} ({group.cost / whole:.0%} of the predicted cost): {names}"


def main(config: ConfigDict) -> int:
    jax.config.update("jax_platforms", "cpu")  # the accelerator belongs to the workers
    path, _ = cli.config_path()
    generator = runpy.run_path(str(path)).get("sweep")
    trials = expand(config, generator(config) if generator else None)
    if config.launch.coordinator is not None:
        raise UserError("config.launch.coordinator: only mnet_jax.train trains across hosts")
    workdir = Workdir(flags.FLAGS.workdir or cli.default_workdir())
    if flags.FLAGS.dry_run:
        return _dry_run(config, trials, workdir)
    return run(config, trials, workdir, flags.FLAGS.launcher or config.launch.launcher)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the sweep; default: runs/<config file's stem>.")
    flags.DEFINE_enum("launcher", None, list(LAUNCHERS), "How trials are run; default: config.launch.launcher.")
    flags.DEFINE_bool("dry_run", False, "Print every trial with its cost and status; train nothing.")
    cli.run(main)
