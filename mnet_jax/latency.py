"""How long each distinct network of a sweep takes on this machine: compiled by XLA, and by onnxruntime, float and int8.

    python -m mnet_jax.latency --workdir DIR [--batch 8] [--threads 2] [--runs 50]

Networks take turns, so that what disturbs the machine disturbs them all; before each turn one run is not timed. A
network needs no training for this: its weights are random. What this machine has measured already, with as many threads
and these versions, is left out. Results are in `DIR/latency.json`: median and quartiles, machine and versions; medians
are columns of the table, `latency_ms_jax_float32`, `latency_ms_onnx_float32` and `latency_ms_onnx_int8`.
"""

import dataclasses
import importlib.metadata
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from absl import flags

from mnet_jax import cli
from mnet_jax.errors import UserError
from mnet_jax.workdir.deployment import network_key

BACKENDS = (("jax", "float32"), ("onnx", "float32"), ("onnx", "int8"))

_TURN = 5  # runs in a row that are timed, behind one that is not
_WARM_UP = 3  # turns
_CALIBRATION = 16  # random images


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that one or more trials have.

    Attributes:
      key: see `deployment.network_key`.
      module: in float32.
      image_shape: (height, width, channels).
      trials: their names.
    """

    key: str
    module: Any
    image_shape: tuple[int, int, int]
    trials: list[str]


def networks_of(workdir) -> list[Network]:
    """The distinct networks of the trials in a workdir.

    Raises:
      UserError: there is no trial, or the config of one is damaged, or the source of a network is gone.
    """
    from mnet_jax.config.dotted import from_json
    from mnet_jax.export.program import in_float32
    from mnet_jax.models import registry
    from mnet_jax.train.trained import register_network

    found: dict[str, Network] = {}
    for name in workdir.trial_names():
        folder = workdir.trial(name)
        config = from_json(folder.config_text())
        shape = (config.input_size, config.input_size, config.data.channels)
        key = network_key(folder.config())
        if key not in found:
            register_network(folder, config)
            found[key] = Network(key, in_float32(registry.build(config.model)), shape, [])
        found[key].trials.append(name)
    if not found:
        raise UserError(f"{workdir.path}: no sweep was started there (it has no trials)")
    return list(found.values())


def measure(networks: list[Network], batch: int, threads: int, runs: int) -> list[dict[str, Any]]:
    """One entry for each network and each of `BACKENDS`, without the machine.

    Args:
      networks: that take turns.
      batch: images at once.
      threads: of onnxruntime; those of XLA are as many as this process may use.
      runs: at least as many are timed of each.
    """
    timed = [
        (network, backend, precision, run)
        for network in networks
        for (backend, precision), run in _runs(network, batch, threads).items()
    ]
    seconds: list[list[float]] = [[] for _ in timed]
    for turn in range(_WARM_UP + -(-runs // _TURN)):
        for (*_, run), found in zip(timed, seconds, strict=True):
            run()
            for _ in range(_TURN):
                start = time.perf_counter()
                run()
                if turn >= _WARM_UP:
                    found.append(time.perf_counter() - start)
    entries = []
    for (network, backend, precision, _), found in zip(timed, seconds, strict=True):
        q1, median, q3 = (1000 * np.quantile(found, (0.25, 0.5, 0.75))).tolist()
        entry = {"network": network.key, "backend": backend, "precision": precision, "batch": batch, "runs": len(found)}
        entries.append(entry | {"median_ms": median, "q1_ms": q1, "q3_ms": q3})
    return entries


def _runs(network: Network, batch: int, threads: int) -> dict[tuple[str, str], Callable[[], Any]]:
    """What runs a network once, by backend and precision."""
    import jax
    import onnxruntime

    from mnet_jax.export import int8, onnx_file, program

    rng = np.random.default_rng(0)
    shape = network.image_shape
    abstract = jax.eval_shape(
        lambda: network.module.init(jax.random.key(0), np.zeros((1, *shape), np.float32), train=False)
    )
    variables = jax.tree_util.tree_map_with_path(lambda path, leaf: _random(rng, str(path[-1]), leaf.shape), abstract)
    images = rng.normal(size=(batch, *shape)).astype(np.float32)

    def logits(module):
        return lambda x: module.apply(variables, x, train=False)

    compiled = jax.jit(logits(network.module)).lower(images).compile()
    on_device = jax.device_put(images)
    textbook = program.Network(logits(program.textbook(network.module)), shape, "float32", "logits")
    float32 = onnx_file.as_model(textbook, network.key, {})
    some = rng.normal(size=(_CALIBRATION, *shape)).astype(np.float32)
    sessions = {"float32": float32, "int8": int8.quantized(float32, some, per_channel=True)}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    found: dict[tuple[str, str], Callable[[], Any]] = {}
    found["jax", "float32"] = lambda: compiled(on_device).block_until_ready()
    for precision, model in sessions.items():
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found["onnx", precision] = lambda session=session: session.run(None, {"images": images})
    return found


def _random(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A variable through which a signal passes."""
    if len(shape) > 1:
        return rng.normal(scale=(2 / np.prod(shape[:-1])) ** 0.5, size=shape).astype(np.float32)
    return np.ones(shape, np.float32) if "scale" in name or "var" in name else np.zeros(shape, np.float32)


def machine(threads: int) -> dict[str, Any]:
    """What a latency depends on beside the network."""
    import jax

    device = jax.devices()[0]
    return {
        "cpu": _cpu(),
        "device": device.device_kind if device.platform != "cpu" else "cpu",
        "threads": threads,
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "onnxruntime")},
    }


def _cpu() -> str:
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Hardware")))
    return next(names, os.uname().machine)


def _left(networks: list[Network], known: list[Mapping[str, Any]], here: dict, batch: int) -> list[Network]:
    """Those that this machine has not measured yet."""
    measured = {
        (entry["network"], entry["backend"], entry["precision"])
        for entry in known
        if entry["machine"] == here and entry["batch"] == batch
    }
    return [network for network in networks if not {(network.key, *backend) for backend in BACKENDS} <= measured]


def _told(entries: list[Mapping[str, Any]], networks: list[Network]) -> Iterator[tuple[str, ...]]:
    label = {network.key: network.trials[0] + (" ..." if len(network.trials) > 1 else "") for network in networks}
    for entry in entries:
        times = (f"{entry[name]:.3f}" for name in ("median_ms", "q1_ms", "q3_ms"))
        yield (label[entry["network"]], entry["backend"], entry["precision"], str(entry["batch"]), *times)


def _restrict(threads: int) -> None:
    """Leaves this process as many CPUs, where the system can.

    Raises:
      UserError: it has fewer.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if threads > len(cores):
        raise UserError(f"--threads={threads}: this process may use {len(cores)} CPUs")
    os.sched_setaffinity(0, cores[:threads])


def main(_) -> int:
    given = flags.FLAGS
    if given.workdir is None:
        raise UserError("--workdir DIR is missing")
    for name in ("batch", "threads", "runs"):
        if given[name].value < 1:
            raise UserError(f"--{name}={given[name].value}: must be positive")
    _restrict(given.threads)  # before JAX makes its threads

    from mnet_jax.devices.process import configure
    from mnet_jax.export.formats import need
    from mnet_jax.report.tables import table
    from mnet_jax.workdir import results
    from mnet_jax.workdir.files import Workdir

    need("onnx", "onnxruntime")
    configure()
    workdir = Workdir(given.workdir)
    networks, here = networks_of(workdir), machine(given.threads)
    left = _left(networks, workdir.latencies(), here, given.batch)
    entries = [
        entry | {"machine": here, "measured_at": time.time()}
        for entry in measure(left, given.batch, given.threads, given.runs)
    ]
    if entries:
        workdir.add_latencies(entries)
    results.write(workdir, results.collect(workdir))
    keys = {network.key for network in networks}
    known = [
        entry
        for entry in workdir.latencies()
        if (entry["machine"], entry["batch"]) == (here, given.batch) and entry["network"] in keys
    ]
    header = ("trial", "backend", "precision", "batch", "median ms", "quartile", "quartile")
    where = f"{here['cpu']}, device {here['device']}, threads: {given.threads}"
    print(f"{where}; {len(left)} of {len(networks)} networks measured now")
    print(table(header, list(_told(known, networks)), (False, False, False, *[True] * 4)))
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of a sweep.")
    flags.DEFINE_integer("batch", 1, "Images at once.")
    flags.DEFINE_integer("threads", 1, "CPUs that this process may use, and threads of onnxruntime.")
    flags.DEFINE_integer("runs", 50, "Timed runs of each, at least.")
    cli.run(main, needs_config=False, description=__doc__)
