"""Several processes, usually one per host, that train one trial together.

Each reads its share of every batch and holds its part of the mesh; process 0 alone writes the trial's folder, which all
must see. They take every decision at the same step.
"""

import contextlib
import logging
import os
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from mnet_jax.devices import mesh
from mnet_jax.devices.signals import Interruption
from mnet_jax.errors import UserError

_log = logging.getLogger(__name__)

_HEARTBEAT_SECONDS = 30  # of silence, after which a process counts as gone, and all are ended
_AGREE_EVERY = 20  # looks; to agree, the processes wait for each other


def initialize(launch) -> None:
    """Joins the processes that `config.launch.coordinator` names; does nothing where it is None.

    Args:
      launch: `config.launch`: `coordinator`, "auto" (Slurm, Kubernetes, MPI and TPU pods are recognised) or the
        "HOST:PORT" of process 0, then with `num_processes` and `process_id`.

    Raises:
      UserError: a field is missing, or the others cannot be reached.
    """
    if launch.coordinator in (None, "auto"):
        for name in ("num_processes", "process_id"):
            if launch[name] is not None:
                raise UserError(
                    f"config.launch.{name}={launch[name]!r} has no effect: config.launch.coordinator="
                    f"{launch.coordinator!r}; HOST:PORT of process 0 needs it"
                )
        if launch.coordinator is None:
            return
    fields = ()
    if launch.coordinator != "auto":
        _check(launch)
        fields = (launch.coordinator, launch.num_processes, launch.process_id)
    try:
        join(*fields)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"config.launch.coordinator={launch.coordinator!r}: {error}") from error


def join(*where: str | int, timeout: int = 300) -> None:
    """Joins the processes that meet at the HOST:PORT of process 0, by their number and this one's; or looks for them.

    Raises:
      RuntimeError: not all were there after so many seconds.
    """
    jax.distributed.initialize(*where, heartbeat_timeout_seconds=_HEARTBEAT_SECONDS, initialization_timeout=timeout)


def _check(launch) -> None:
    """Of a coordinator by its address."""
    where = f"config.launch.coordinator={launch.coordinator!r}"
    host, _, port = launch.coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"{where}: must be HOST:PORT of process 0, or auto")
    if launch.num_processes is None or launch.process_id is None:
        raise UserError(f"{where}: needs config.launch.num_processes and config.launch.process_id too")
    if launch.process_id >= launch.num_processes:
        raise UserError(
            f"config.launch.process_id={launch.process_id}: must be below config.launch.num_processes="
            f"{launch.num_processes}; the first is 0"
        )


def devices() -> tuple[int, int]:
    """The number of the devices of all processes, and their memory in bytes."""
    return jax.device_count(), jax.process_count() * mesh.memory(jax.local_devices())


def is_writer() -> bool:
    return jax.process_index() == 0


def as_writer_says(value: int) -> int:
    """The value that process 0 calls this with, in all processes; what is read from files is decided by one."""
    return int(multihost_utils.broadcast_one_to_all(np.int32(value))) if jax.process_count() > 1 else value


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Ends this process at once, with exit code 2 or 1, where an exception leaves the block, if there are others.

    They wait for it in a step, for ever; when its heartbeats stop, JAX ends them, too.
    """
    try:
        yield
    except Exception as error:
        if jax.process_count() == 1:
            raise
        is_users = isinstance(error, UserError)
        reason = None if is_users else error
        _log.error("process %d of %d: error: %s", jax.process_index(), jax.process_count(), error, exc_info=reason)
        logging.shutdown()
        os._exit(2 if is_users else 1)  # without the barrier at exit, where the others would be waited for


def wait_for_all(what: str) -> None:
    """Returns when every process has got here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


class AgreedInterruption(Interruption):
    """Of all processes: none may leave while the others wait for it in a step."""

    def __init__(self):
        super().__init__()
        self._looks = 0

    def check(self) -> None:
        if jax.process_count() > 1:
            self._looks += 1
            if self._looks % _AGREE_EVERY:
                return
            reasons = multihost_utils.process_allgather(np.asarray(self.reason is not None))
            if reasons.any():
                self.set("the interruption of another process")
        super().check()
