"""What a process that computes sets up first: logging, JAX's cache and kernels, and the devices it runs on."""

import logging
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mnet_jax.errors import UserError

_HUGE_PAGES = "glibc.malloc.hugetlb=1"


def configure(*more_handlers: logging.Handler) -> None:
    """Logging, JAX's persistent compilation cache, and XLA's choice of deterministic GPU kernels.

    The cache is in $JAX_COMPILATION_CACHE_DIR, or in ~/.cache/mnet_jax.
    """
    handlers = [logging.StreamHandler(), *more_handlers]
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, handlers=handlers, force=True)
    logging.getLogger("absl").setLevel(logging.WARNING)
    logging.getLogger("jax").setLevel(logging.WARNING)
    os.environ["XLA_FLAGS"] = f"--xla_gpu_exclude_nondeterministic_ops=true {os.environ.get('XLA_FLAGS', '')}".strip()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(pathlib.Path.home() / ".cache" / "mnet_jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def environment() -> dict[str, str]:
    """What to add to the environment of a process that computes, before it starts.

    glibc then asks for huge pages. XLA:CPU allocates the buffers of every step anew, and each page of them is touched
    for the first time again: with pages of 4 KiB, `benchmarks/README.md` measures what that costs.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return {} if "glibc.malloc.hugetlb" in tunables else {"GLIBC_TUNABLES": f"{tunables}:{_HUGE_PAGES}".strip(":")}


def places(devices_per_group: int | None) -> list[dict[str, str]]:
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


def mesh() -> Mesh:
    """All devices along the axis "data", those of a process side by side."""
    return Mesh(np.array(jax.devices()), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def sharded(mesh: Mesh) -> NamedSharding:
    """The first axis, the batch, split among the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def device_name() -> str:
    """The kind and number of the devices that the steps run on."""
    device = jax.local_devices()[0]
    kind = f"CPU ({os.cpu_count()} cores)" if device.platform == "cpu" else device.device_kind
    return f"{jax.device_count()} x {kind}"
