"""Several processes, usually one per host, that train one trial together.

Each reads its share of every batch and holds its part of the mesh; process 0 alone writes the trial's folder, which all
must see. They take every decision at the same step.
"""

import jax
import numpy as np
from jax.experimental import multihost_utils

from mnet_jax.devices.signals import Interruption
from mnet_jax.errors import UserError

_AGREE_EVERY = 20  # looks; to agree, the processes wait for each other


def initialize(launch) -> None:
    """Joins the processes that `config.launch.coordinator` names; does nothing where it is None.

    Args:
      launch: `config.launch`: `coordinator`, "auto" (Slurm, Kubernetes, MPI and TPU pods are recognised) or the
        "HOST:PORT" of process 0, then with `num_processes` and `process_id`.

    Raises:
      UserError: a field is missing, or the others cannot be reached.
    """
    if launch.coordinator is None:
        return
    fields = {}
    if launch.coordinator != "auto":
        if launch.num_processes is None or launch.process_id is None:
            raise UserError(
                f"config.launch.coordinator={launch.coordinator!r}: needs config.launch.num_processes and "
                "config.launch.process_id too"
            )
        fields = {
            "coordinator_address": launch.coordinator,
            "num_processes": launch.num_processes,
            "process_id": launch.process_id,
        }
    try:
        jax.distributed.initialize(**fields)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"config.launch.coordinator={launch.coordinator!r}: {error}") from error


def is_writer() -> bool:
    return jax.process_index() == 0


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
