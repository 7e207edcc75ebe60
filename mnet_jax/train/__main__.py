"""Trains one trial with the config's own values; the sweep's axes are ignored.

    python -m mnet_jax.train --config FILE [--config.field=value ...] [--workdir DIR]

With `--config.launch.coordinator` (see `devices.multihost`), started once on every host, the processes train it
together.
"""

import contextlib
import logging

from absl import flags

from mnet_jax import cli
from mnet_jax.config.identity import trial_hash
from mnet_jax.config.resolve import resolve
from mnet_jax.cost.layers import count_network
from mnet_jax.data import cache
from mnet_jax.data.sources import split_fields
from mnet_jax.devices import multihost
from mnet_jax.devices.multihost import AgreedInterruption
from mnet_jax.devices.process import configure
from mnet_jax.devices.signals import Interrupted
from mnet_jax.pretrained import recipes
from mnet_jax.train.loop import train
from mnet_jax.workdir.files import DONE, WatchedFolder, Workdir


def main(config) -> int:
    config = resolve(config)
    multihost.initialize(config.launch)
    cache.check(config.data, split_fields(config))
    recipes.check(config)
    directory = Workdir(flags.FLAGS.workdir or cli.default_workdir())
    folder = directory.trial(f"base-{trial_hash(config)}")
    with directory.locked() if multihost.is_writer() else contextlib.nullcontext():
        if multihost.is_writer():
            folder.create(config.to_dict())
        multihost.wait_for_all("the trial's folder")
        if not multihost.is_writer():
            folder = WatchedFolder(folder.path)
        configure(*([logging.FileHandler(folder.log_path)] if multihost.is_writer() else []))
        if folder.status() != DONE:
            with AgreedInterruption() as interruption, contextlib.suppress(Interrupted):
                train([folder], interruption)
        multihost.wait_for_all("the trial's end")
    counted = count_network(config)
    reached = {"mult_adds": counted.mult_adds, "params": counted.params} | folder.result()
    is_done = folder.status() == DONE
    print(f"{folder.status()}: {reached if is_done else folder.error()}", f"folder: {folder.path}", sep="\n")
    return 0 if is_done else 1


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the results; default: runs/<config file's stem>.")
    cli.run(main)
