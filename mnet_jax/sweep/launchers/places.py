"""The devices of this machine, and how processes share them."""

import os
import subprocess
import sys
from typing import NamedTuple

from mnet_jax.errors import UserError


class Places(NamedTuple):
    """Where processes can run side by side.

    Attributes:
      environments: in which a process sees a part of this machine's devices, and no others.
      num_devices: that one process sees.
      memory: of those together, in bytes.
      platform: of those, as JAX names it.
    """

    environments: list[dict[str, str]]
    num_devices: int
    memory: int
    platform: str


def find_places(devices_per_group: int | None) -> Places:
    """The places on this machine.

    Looks for devices in a process of its own, as the first look takes hold of an accelerator.

    Args:
      devices_per_group: devices that a process gets; None means one GPU, or all devices of another kind.

    Raises:
      UserError: there are fewer devices, or they are of a kind that cannot be divided among processes.
    """
    platform, count, memory = _devices()
    if devices_per_group is None:
        devices_per_group = 1 if platform == "gpu" else count
    if devices_per_group == count:
        return Places([{}], count, memory, platform)
    if devices_per_group > count:
        raise UserError(f"config.launch.devices_per_group={devices_per_group}: this machine has {count} ({platform})")
    if platform == "cpu":
        environments = [{"JAX_NUM_CPU_DEVICES": str(devices_per_group)}] * (count // devices_per_group)
        return Places(environments, devices_per_group, memory, platform)
    if platform != "gpu":
        raise UserError(
            f"config.launch.devices_per_group={devices_per_group}: the {count} devices ({platform}) of this machine "
            "serve one process"
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    ids = visible.split(",")[:count] if visible else [str(i) for i in range(count)]
    parts = [ids[i : i + devices_per_group] for i in range(0, count - devices_per_group + 1, devices_per_group)]
    environments = [{"CUDA_VISIBLE_DEVICES": ",".join(part)} for part in parts]
    return Places(environments, devices_per_group, memory * devices_per_group // count, platform)


def _devices() -> tuple[str, int, int]:
    look = (
        "import jax; from mnet_jax.devices.mesh import memory; devices = jax.local_devices(); "
        "print(devices[0].platform, len(devices), memory(devices))"
    )
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    found = subprocess.run([sys.executable, "-c", look], env=environment, text=True, capture_output=True)
    if found.returncode:
        raise UserError(f"JAX finds no devices: {(found.stderr.strip().splitlines() or ['no message'])[-1]}")
    platform, count, memory = found.stdout.split()[-3:]
    return platform, int(count), int(memory)
