"""Seconds that the models of a sweep take to compile, cold and from the persistent cache.

`python -m benchmarks.compile_time` compiles the training step of every cell of the paper's grid twice, in a process
each, with a cache that is empty at first, and counts what the second process compiles.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time

from benchmarks import measurements
from benchmarks.task import Task
from mnet_jax import presets
from mnet_jax.config.durations import in_steps
from mnet_jax.models import registry
from mnet_jax.train import optim, step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", default=["mobilenet_v1"])
    parser.add_argument("--alpha", nargs="+", type=float, default=presets.ALPHAS)
    parser.add_argument("--input_size", nargs="+", type=int, default=[224, 192, 160, 128])
    parser.add_argument("--layers", nargs="+", default=["fast", "textbook"])
    measurements.add_argument(parser)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(_compile(**json.loads(args.one))))
        return
    report = {"command": " ".join(["python -m benchmarks.compile_time", *sys.argv[1:]]), "models": []}
    print(f"{'':34}{'trace':>8}{'compile':>9}{'CPU':>8}{'again':>8}{'compiled again':>16}")
    for cell in itertools.product(args.model, args.alpha, args.input_size, args.layers):
        row = dict(zip(("model", "alpha", "input_size", "layers"), cell, strict=True))
        with tempfile.TemporaryDirectory() as cache:
            answers = [_in_a_process(row | {"cache": cache}) for _ in range(2)]
        report["about"] = answers[0]["about"]
        first, second = (answer["measured"] for answer in answers)
        report["models"].append(row | {"first": first, "second": second})
        name = f"{row['model']} {row['alpha']:g} at {row['input_size']}, {row['layers']}"
        print(
            f"{name:34}{first['trace_seconds']:>6.1f} s{first['compile_seconds']:>7.1f} s"
            f"{first['cpu_seconds']:>6.1f} s{second['compile_seconds']:>6.1f} s{second['cache_misses']:>16}",
            flush=True,
        )
        measurements.save(report, args.json)


def _in_a_process(row: dict) -> dict:
    command = [sys.executable, "-m", "benchmarks.compile_time", "--one", json.dumps(row)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _compile(model: str, alpha: float, input_size: int, layers: str, cache: str) -> dict:
    import jax
    import numpy as np

    from benchmarks.contenders import with_jax

    misses = []
    jax.monitoring.register_event_listener(
        lambda event, **_: misses.append(event) if event == "/jax/compilation_cache/cache_misses" else None
    )
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    config = with_jax.task_config(Task(model, alpha, input_size, batch_size=16), layers)
    network = registry.build(config.model, platform=jax.default_backend())
    optimizer, _ = optim.build(config.optim, in_steps(config, num_train=1600))
    state = jax.eval_shape(lambda: step.create_state(network, optimizer, config, config.seed))
    batch = {
        "image": jax.ShapeDtypeStruct((16, input_size, input_size, 3), np.uint8),
        "label": jax.ShapeDtypeStruct((16,), np.int32),
    }
    start, cpu_start = time.perf_counter(), sum(os.times()[:4])
    lowered = jax.jit(step.make_train_step(network, optimizer, config), donate_argnums=0).lower(state, batch)
    traced = time.perf_counter()
    lowered.compile()
    measured = {
        "trace_seconds": traced - start,
        "compile_seconds": time.perf_counter() - traced,
        "cpu_seconds": sum(os.times()[:4]) - cpu_start,
        "cache_misses": len(misses),
    }
    return {"about": with_jax.versions(), "measured": measured}


if __name__ == "__main__":
    main()
