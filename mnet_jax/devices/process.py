"""What a process that computes sets up first: logging, JAX's cache and kernels, and the devices it runs on."""

import logging
import os
import pathlib

import jax

_HUGE_PAGES = "glibc.malloc.hugetlb=1"
_XLA_FLAGS = (
    "--xla_gpu_exclude_nondeterministic_ops=true",
    # Devices of one CPU wait for each other: 40 s, XLA's limit, is little where the machine is busy.
    "--xla_cpu_collective_call_terminate_timeout_seconds=120",
)
_THREADS_PER_DEVICE = 8


def configure(*more_handlers: logging.Handler) -> None:
    """Logging, JAX's persistent compilation cache, and XLA's choice of deterministic GPU kernels.

    The cache is in $JAX_COMPILATION_CACHE_DIR, or in ~/.cache/mnet_jax.
    """
    handlers = [logging.StreamHandler(), *more_handlers]
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, handlers=handlers, force=True)
    logging.getLogger("absl").setLevel(logging.WARNING)
    logging.getLogger("jax").setLevel(logging.WARNING)
    set_xla_flags()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(pathlib.Path.home() / ".cache" / "mnet_jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def set_xla_flags() -> None:
    """Before JAX looks for devices; what the environment says already stays.

    Devices of one CPU run their steps in one pool of threads, by default as many as they are. Independent all-reduces
    of a step block a thread each: where all wait for one that has no thread, the step never ends (seen twice, with 9
    and 12 all-reduces of 8 devices on 2 busy cores, jaxlib 0.10.2). $NPROC makes the pool larger. Should it happen
    still, XLA ends the process, and a sweep starts it again.
    """
    os.environ["XLA_FLAGS"] = " ".join((*_XLA_FLAGS, os.environ.get("XLA_FLAGS", ""))).strip()
    num_devices = os.environ.get("JAX_NUM_CPU_DEVICES", "1")
    if num_devices.isdecimal() and int(num_devices) > 1:
        os.environ.setdefault("NPROC", str(_THREADS_PER_DEVICE * int(num_devices)))


def environment() -> dict[str, str]:
    """What to add to the environment of a process that computes, before it starts.

    glibc then asks for huge pages. XLA:CPU allocates the buffers of every step anew, and each page of them is touched
    for the first time again: with pages of 4 KiB, `benchmarks/README.md` measures what that costs.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return {} if "glibc.malloc.hugetlb" in tunables else {"GLIBC_TUNABLES": f"{tunables}:{_HUGE_PAGES}".strip(":")}
