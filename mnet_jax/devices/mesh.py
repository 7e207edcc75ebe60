"""The devices of all processes as one axis, and what lies on them how."""

import os
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def make_mesh() -> Mesh:
    """All devices along the axis "data", those of a process side by side."""
    return Mesh(np.array(jax.devices()), ("data",), axis_types=(AxisType.Auto,))


def replicated_on(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def sharded_on(mesh: Mesh) -> NamedSharding:
    """The first axis, the batch, split among the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def memory(devices: Sequence[jax.Device]) -> int:
    """Of the devices together, in bytes; those of a CPU share the machine's."""
    if devices[0].platform == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return sum(device.memory_stats()["bytes_limit"] for device in devices)


def device_name() -> str:
    """The kind and number of the devices that the steps run on."""
    device = jax.local_devices()[0]
    kind = f"CPU ({os.cpu_count()} cores)" if device.platform == "cpu" else device.device_kind
    return f"{jax.device_count()} x {kind}"
