"""Trains every trial of a config's grid that is not done, then collects and reports.

    python -m mnet_jax.sweep --config configs/width.py [--config.field=value ...] [--workdir DIR] [--launcher local]
                             [--dry_run]

Running it again resumes: done trials are skipped, others go on from their last checkpoint.
"""

import runpy
from collections.abc import Iterator, Sequence

import jax
from absl import flags
from ml_collections import ConfigDict

from mnet_jax import cli
from mnet_jax.errors import UserError
from mnet_jax.report.tables import as_table
from mnet_jax.sweep import plan
from mnet_jax.sweep.grid import expand
from mnet_jax.sweep.launchers.places import find_places
from mnet_jax.sweep.run import LAUNCHERS, _counted, _todo, run
from mnet_jax.workdir import results
from mnet_jax.workdir.files import Workdir


def _dry_run(config: ConfigDict, trials: dict[str, ConfigDict], workdir: Workdir) -> int:
    rows = []
    for name, trial in trials.items():
        row = dict.fromkeys(results.COLUMNS) | {"trial": name, "status": workdir.trial(name).status()}
        rows.append(row | _counted(trial))
    print(as_table(rows, ("trial", "mult_adds", "params", "status")))
    places = find_places(config.launch.devices_per_group)
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
