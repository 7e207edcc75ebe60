"""The devices that are compiled for: what that needs, and how XLA is told of them."""

import dataclasses
import pathlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from mnet_jax.errors import UserError

DEVICES = (1, 4, 8, 64, 256)

_GPUS_PER_HOST = 8
_TPU_TORUS = {1: "1x1", 4: "2x2", 8: "2x4", 64: "8x8", 256: "16x16"}


@dataclasses.dataclass(frozen=True)
class Target:
    """
    Attributes:
      platform: "cpu", which compiles for this host, or that of the plugin that compiles.
      packages: that must be installed beside mnet_jax, and decide what is compiled.
      environment: of the process that compiles, beside its `JAX_*` variables.
      compiler_options: the same whichever layers are compiled.
    """

    platform: str
    packages: tuple[str, ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    compiler_options: Mapping[str, bool] = dataclasses.field(default_factory=dict)


_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # without a TPU there is nothing that a second process could take away
}

TARGETS = {
    "h100": Target(
        "cuda",
        ("jax-cuda12-plugin", "jax-cuda12-pjrt", "nvidia-cudnn-cu12", "nvidia-cublas-cu12", "nvidia-cuda-nvcc-cu12"),
        {"XLA_FLAGS": "--xla_gpu_autotune_level=0"},  # which would run kernels
        # Products by cuBLAS, which is what --xla_gpu_exclude_nondeterministic_ops ends in on a GPU.
        {"xla_gpu_enable_triton_gemm": False},
    ),
    "v5e": Target("tpu", ("libtpu",), _TPU),
    "v6e": Target("tpu", ("libtpu",), _TPU),
    "cpu": Target("cpu"),
}


def environment(name: str, devices: int) -> dict[str, str]:
    """All that is set for a process that compiles for so many devices of a target.

    Device plugins register themselves as compilers where JAX itself runs on the CPU. A persistent cache would hide how
    long compiling takes.
    """
    target = TARGETS[name]
    num_cpu_devices = {"JAX_NUM_CPU_DEVICES": str(devices)} if target.platform == "cpu" else {}
    common = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false", "XLA_FLAGS": ""}
    return common | num_cpu_devices | dict(target.environment)


def versions(name: str) -> dict[str, str]:
    """Of what decides the program that is compiled.

    Raises:
      UserError: a package that the target needs is missing.
    """
    found = {"python": platform.python_version()}
    for package in ("jax", "jaxlib", "flax", *TARGETS[name].packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError as error:
            raise UserError(
                f"--target {name}: {package} is not installed; benchmarks/README.md says what to install"
            ) from error
    return found


def devices_of(name: str, devices: int) -> list:
    """So many devices of a target, which need not be there; in a process with its `environment`."""
    import jax
    from jax.experimental import topologies

    match TARGETS[name].platform:
        case "cpu":
            return jax.devices()
        case "tpu":
            return topologies.get_topology_desc(platform="tpu", topology_name=f"{name}:{_TPU_TORUS[devices]}").devices
        case "cuda":
            per_host = min(devices, _GPUS_PER_HOST)
            return topologies.get_topology_desc(
                platform="cuda",
                topology=f"1x{devices // per_host}x{per_host}",
                target_config=pathlib.Path(__file__).with_name(f"{name}_sxm.txtpb").read_text(),
            ).devices
