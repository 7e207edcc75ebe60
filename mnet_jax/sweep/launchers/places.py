"""The devices of this machine, and how processes share them."""

import os
import subprocess
import sys

from mnet_jax.errors import UserError


def find_places(devices_per_group: int | None) -> list[dict[str, str]]:
    """Environments in which a process sees a part of this machine's devices; processes in them can run side by side.

    Looks for devices in a process of its own, as the first look takes hold of an accelerator.

    Args:
      devices_per_group: devices that a process gets; None means one GPU, or all devices of another kind.

    Raises:
      UserError: there are fewer devices, or they are of a kind that cannot be divided among processes.
    """
    platform, count = _devices()
    if devices_per_group is None:
        devices_per_group = 1 if platform == "gpu" else count
    if devices_per_group == count:
        return [{}]
    if devices_per_group > count:
        raise UserError(f"config.launch.devices_per_group={devices_per_group}: this machine has {count} ({platform})")
    if platform == "cpu":
        return [{"JAX_NUM_CPU_DEVICES": str(devices_per_group)}] * (count // devices_per_group)
    if platform != "gpu":
        raise UserError(
            f"config.launch.devices_per_group={devices_per_group}: the {count} devices ({platform}) of this machine "
            "serve one process"
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    ids = visible.split(",")[:count] if visible else [str(i) for i in range(count)]
    parts = [ids[i : i + devices_per_group] for i in range(0, count - devices_per_group + 1, devices_per_group)]
    return [{"CUDA_VISIBLE_DEVICES": ",".join(part)} for part in parts]


def _devices() -> tuple[str, int]:
    look = "import jax; devices = jax.local_devices(); print(devices[0].platform, len(devices))"
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    found = subprocess.run([sys.executable, "-c", look], env=environment, text=True, capture_output=True)
    if found.returncode:
        raise UserError(f"JAX finds no devices: {(found.stderr.strip().splitlines() or ['no message'])[-1]}")
    platform, count = found.stdout.split()[-2:]
    return platform, int(count)
