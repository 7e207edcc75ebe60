"""The devices of all processes as one axis, and what lies on them how."""

import os
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mnet_jax.errors import UserError


def make_mesh() -> Mesh:
    """All devices along the axis "data", those of a process side by side."""
    return Mesh(np.array(jax.devices()), ("data",), axis_types=(AxisType.Auto,))


def replicated_on(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def sharded_on(mesh: Mesh) -> NamedSharding:
    """The first axis, the batch, split among the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def memory(devices: Sequence[jax.Device]) -> int:
    """Of the devices together, in bytes; those of a CPU share the machine's. 0 where a device does not say."""
    if devices[0].platform == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [(device.memory_stats() or {}).get("bytes_limit", 0) for device in devices]
    return sum(limits) if all(limits) else 0


def check_batch(batch_size: int, num_devices: int) -> None:
    """Refuses a batch that devices cannot share.

    Raises:
      UserError: it is no multiple of them.
    """
    if batch_size % num_devices:
        nearest = max(1, round(batch_size / num_devices)) * num_devices
        raise UserError(
            f"config.train.batch_size={batch_size}: must be a multiple of the {num_devices} devices, such as {nearest}"
        )


def device_name() -> str:
    """The kind and number of the devices that the steps run on."""
    device = jax.local_devices()[0]
    kind = f"CPU ({os.cpu_count()} cores)" if device.platform == "cpu" else device.device_kind
    return f"{jax.device_count()} x {kind}"
