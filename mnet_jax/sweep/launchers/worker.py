"""The process that trains trials on one stream: `python -m mnet_jax.sweep.launchers.worker [--join=...] FOLDER [...]`.

Its standard input is a pipe from the launcher. When that closes, the launcher is gone, and the worker saves a
checkpoint and leaves as on SIGTERM. Each trial's `log.txt` gets what is logged about it, and about all.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Collection

from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.errors import UserError
from mnet_jax.workdir.files import FAILED, TrialFolder, WatchedFolder
from mnet_jax.workdir.jobs import whereabouts
from mnet_jax.workdir.lease import Held, Lost
from mnet_jax.workdir.whole import set_aside

_JOIN = "--join="  # HOST:PORT of the first process, their number, this one's, where several hosts train together
_MEET_SECONDS = 120
OUT_OF_MEMORY = 3  # exit code: the trials need more memory together than there is


def _watch_launcher(interruption: Interruption) -> None:
    while os.read(sys.stdin.fileno(), 1024):  # unbuffered: a buffered read would hold a lock at exit
        pass
    interruption.set("the end of the sweep's process")


def log_file(folder: TrialFolder, others: Collection[str] = ()) -> logging.Handler:
    """A handler for the records that do not begin with the name of another trial."""

    def is_about_another(record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        return any(isinstance(name, str) and name in others for name in arguments[:1])

    if folder.log_path.is_dir():
        set_aside(folder.log_path)
    handler = logging.FileHandler(folder.log_path, encoding="utf-8", errors="backslashreplace")
    handler.addFilter(lambda record: not is_about_another(record))
    return handler


def main(arguments: list[str]) -> int:
    for number in (signal.SIGUSR1, signal.SIGUSR2):  # Slurm sends them to all processes of a job, for the keeper
        signal.signal(number, signal.SIG_IGN)
    join = arguments.pop(0).removeprefix(_JOIN) if arguments[0].startswith(_JOIN) else None
    folders = [TrialFolder(path) for path in arguments]
    for folder in folders:
        folder.whereabouts = whereabouts()
    if join is not None:
        return _train_together(folders, *join.split(","))
    with Interruption() as interruption:
        threading.Thread(target=_watch_launcher, args=(interruption,), daemon=True).start()
        from mnet_jax.devices.process import configure

        names = {folder.name for folder in folders}
        configure(*(log_file(folder, names - {folder.name}) for folder in folders))
        return _train(folders, interruption)


def _train_together(folders: list[TrialFolder], address: str, hosts: str, rank: str) -> int:
    from mnet_jax.devices import multihost
    from mnet_jax.devices.process import configure

    with multihost.AgreedInterruption() as interruption:
        threading.Thread(target=_watch_launcher, args=(interruption,), daemon=True).start()
        configure()
        multihost.join(address, int(hosts), int(rank), timeout=_MEET_SECONDS)
        with multihost.together():
            if multihost.is_writer():
                names = {folder.name for folder in folders}
                for folder in folders:
                    logging.getLogger().addHandler(log_file(folder, names - {folder.name}))
            else:
                folders = [WatchedFolder(folder.path) for folder in folders]
            return _train(folders, interruption)


def _train(folders: list[TrialFolder], interruption) -> int:
    from mnet_jax.config.dotted import from_json
    from mnet_jax.train import loop, trained

    for folder in list(folders):
        try:
            trained.register_network(folder, from_json(folder.config_text()))
        except UserError as error:
            folder.set_status(FAILED, str(error))
            folders.remove(folder)
    try:
        if folders:
            loop.train(folders, interruption)
    except loop.OutOfMemory:
        return OUT_OF_MEMORY
    except Interrupted:
        return 1
    except (Held, Lost) as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
