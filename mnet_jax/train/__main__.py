"""Trains one trial with the config's own values; the sweep's axes are ignored.

    python -m mnet_jax.train --config FILE [--config.field=value ...] [--workdir DIR]

With `--config.launch.coordinator` (see `devices.multihost`), started once on every host, the processes train it
together.
"""

import contextlib
import logging

from absl import flags

from mnet_jax import cli


def main(file) -> int:
    from mnet_jax.devices import multihost
    from mnet_jax.devices.process import configure
    from mnet_jax.train import inputs

    configure()
    config = inputs.settle(file.config)
    multihost.initialize(config.launch)
    with multihost.together():
        return _train(config, flags.FLAGS.workdir or cli.default_workdir(file))


def _train(config, workdir) -> int:
    from mnet_jax.config.identity import trial_hash
    from mnet_jax.cost.layers import as_dict, count_network
    from mnet_jax.devices import multihost
    from mnet_jax.devices.signals import Interrupted
    from mnet_jax.sweep.launchers.worker import log_file
    from mnet_jax.sweep.run import check_fits, check_version, mend
    from mnet_jax.sweep.sources import check_sources, keep_source
    from mnet_jax.sweep.trackers.registry import Tracking, check_trackers
    from mnet_jax.train import inputs
    from mnet_jax.train.loop import train
    from mnet_jax.workdir.files import DONE, WatchedFolder, Workdir

    check_trackers(config.launch.trackers)
    directory = Workdir(workdir)
    inputs.check_workdir(config, directory.path)
    (name,) = directory.known_as([f"base-{trial_hash(config)}"])
    folder, cost = directory.trial(name), count_network(config)
    if folder.status() != DONE:
        check_fits(folder, config, *multihost.devices())
    inputs.prepare(config)
    with directory.locked() if multihost.is_writer() else contextlib.nullcontext():
        if multihost.is_writer():
            mend(directory)
            check_version(directory)
            check_sources(directory, {name: config}, flags.FLAGS.accept_changed_model)
            keep_source(config, directory)
            folder.create(config.to_dict(), as_dict(cost))
        multihost.wait_for_all("the trial's folder")
        if not multihost.is_writer():
            folder = WatchedFolder(folder.path)
        if multihost.is_writer():
            logging.getLogger().addHandler(log_file(folder))
        if folder.status() != DONE:
            trackers = config.launch.trackers if multihost.is_writer() else ()
            with Tracking(trackers, directory) as tracking, multihost.AgreedInterruption() as interruption:
                tracking.see(folder)
                with contextlib.suppress(Interrupted):
                    train([folder], interruption)
        multihost.wait_for_all("the trial's end")
    reached = {"mult_adds": cost.mult_adds, "params": cost.params} | folder.result()
    is_done = folder.status() == DONE
    print(f"{folder.status()}: {reached if is_done else folder.error()}", f"folder: {folder.path}", sep="\n")
    return 0 if is_done else 1


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the results; default: runs/<config file's stem>.")
    flags.DEFINE_bool("accept_changed_model", False, "Go on although the source of a network of your own changed.")
    cli.run(main, description=__doc__)
