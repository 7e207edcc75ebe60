"""Trains every trial of a config's grid that is not done, then collects and reports.

    python -m mnet_jax.sweep --config configs/width.py [--config.field=value ...] [--workdir DIR] [--launcher ray]
                             [--dry_run | --status] [--retry failed,diverged] [--extend] [--accept_changed_model]

Running it again resumes: done trials are skipped, others go on from their last checkpoint. Where `config.tune` has
axes, their values are tried first, and each cell is trained with the one that is best on the validation split.
"""

import pathlib
from collections.abc import Iterator, Sequence

from absl import flags

from mnet_jax import cli
from mnet_jax.errors import UserError

_SUBMITTED = 3  # exit code: a cluster has what is not done


def main(file) -> int:
    import jax

    jax.config.update("jax_platforms", "cpu")  # the accelerator belongs to the workers
    from mnet_jax.sweep.run import plan_trials
    from mnet_jax.workdir.files import Workdir

    config = file.config
    for name in ("dry_run", "launcher", "retry", "accept_changed_model"):
        if flags.FLAGS.status and flags.FLAGS[name].present:
            raise UserError(f"--{name} has no effect beside --status, which only reads what is there")
    for name in ("coordinator", "num_processes", "process_id"):
        if config.launch[name] is not None:
            raise UserError(f"config.launch.{name}={config.launch[name]!r}: only mnet_jax.train trains across hosts")
    grid = plan_trials(config, file.trials(), flags.FLAGS.extend, say=print)
    workdir = Workdir(flags.FLAGS.workdir or cli.default_workdir(file))
    if flags.FLAGS.status:
        from mnet_jax.sweep.status import status_lines

        print(*status_lines(grid, workdir), *grid.complaints(workdir), sep="\n")
        return 0
    return (_dry_run if flags.FLAGS.dry_run else _run)(config, grid, workdir)


def _run(config, grid, workdir) -> int:
    from mnet_jax.report import tuning
    from mnet_jax.report.tables import as_summary, as_table
    from mnet_jax.sweep.run import is_done, run
    from mnet_jax.sweep.status import complaint
    from mnet_jax.workdir.files import TUNED
    from mnet_jax.workdir.jobs import Jobs

    rows = run(config, grid, workdir, _launcher(config), flags.FLAGS.accept_changed_model, flags.FLAGS.retry)
    trials = [row for row in rows if row["status"] != TUNED]
    print(*filter(None, (tuning.read([workdir.path]).as_table(), as_table(trials), as_summary(rows))), sep="\n\n")
    for name, trial in grid.known(workdir).items():
        if not is_done(folder := workdir.trial(name), trial):
            print(complaint(folder) or f"{name} {folder.status()}: not trained yet (log: {folder.log_path})")
    finals, waiting = grid.finals(workdir), grid.waiting(workdir)
    num_done = sum(is_done(workdir.trial(name), trial) for name, trial in finals.items())
    num_trials = len(finals) + len(waiting)
    print(
        *grid.complaints(workdir), f"{num_done} of {num_trials} trials done; table and plots: {workdir.path}", sep="\n"
    )
    if num_done == num_trials:
        return 0
    return _SUBMITTED if Jobs(workdir).groups() else 1


def _dry_run(config, grid, workdir) -> int:
    from mnet_jax.cost.layers import count_network
    from mnet_jax.report.tables import as_table
    from mnet_jax.sweep import plan
    from mnet_jax.sweep.launchers import registry
    from mnet_jax.sweep.run import check_fits, not_done

    known, waiting = grid.known(workdir), grid.waiting(workdir)
    rows = []
    for name, trial in (known | waiting).items():
        cost = count_network(trial)
        status = "waits" if name in waiting else workdir.trial(name).status()
        rows.append({"trial": name, "mult_adds": cost.mult_adds, "params": cost.params, "status": status})
    print(as_table(rows, ("trial", "mult_adds", "params", "status")))
    folder = pathlib.Path(config.folder or ".")
    capacity = registry.find(_launcher(config), folder)(config.launch, workdir).capacity()
    todo = not_done(known, workdir, flags.FLAGS.retry)
    for name, trial in todo.items():
        check_fits(workdir.trial(name), trial, capacity.num_devices, capacity.memory)
    groups = plan.groups(todo, config.launch.trials_per_stream, capacity.places)
    later = sum(map(plan.predicted_cost, waiting.values()))
    print(*_plan_lines(groups, capacity.places, later), sep="\n")
    if waiting:
        whole = later + sum(group.cost for group in groups)
        print(
            f"then {len(waiting)} trials, with the values that are chosen ({later / whole:.0%} of the predicted cost)"
        )
    return 0


def _launcher(config) -> str:
    return flags.FLAGS.launcher or config.launch.launcher


def _plan_lines(groups: Sequence, num_places: int, later: float) -> Iterator[str]:
    """Which trials share a stream, in the order in which each place would train them; `later` is the cost of others."""
    from mnet_jax.sweep import plan

    whole = later + sum(group.cost for group in groups)
    for i, part in enumerate(plan.assign(groups, num_places), 1):
        for group in part:
            sharing = f"{len(group.trials)} trials share a stream" if len(group.trials) > 1 else "1 trial"
            names = " ".join(name.rpartition("-")[0] for name in group.trials)
            yield f"process {i} of {num_places}: {sharing} ({group.cost / whole:.0%} of the predicted cost): {names}"


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the sweep; default: runs/<config file's stem>.")
    flags.DEFINE_string(
        "launcher", None, "local, ray, slurm or package.module:function; default: config.launch.launcher."
    )
    flags.DEFINE_bool("dry_run", False, "Print every trial with its cost and status; train nothing.")
    flags.DEFINE_bool("status", False, "Print what runs, since when, how far it is, and what failed; train nothing.")
    flags.DEFINE_list("retry", ["failed"], "Which trials without a result are trained again: failed, diverged or both.")
    flags.register_validator("retry", {"failed", "diverged"}.issuperset, "must be failed, diverged or both")
    flags.DEFINE_bool("extend", False, "Where the best value of a tuned field is at the edge, try the next one.")
    flags.DEFINE_bool("accept_changed_model", False, "Go on although the source of a network of your own changed.")
    cli.run(main, description=__doc__)
