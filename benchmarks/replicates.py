"""Milliseconds of three separate training steps and of one vmapped step of three replicates, in turns.

python -m benchmarks.replicates [--json FILE]
"""

import argparse
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measurements
from mnet_jax import presets
from mnet_jax.config.durations import in_steps
from mnet_jax.config.resolve import resolve
from mnet_jax.models import registry
from mnet_jax.train import optim, step

_CELLS = ((0.25, 16, 32), (0.25, 28, 64), (1.0, 16, 64), (0.5, 20, 128))  # alpha, input size, batch


def measure(alpha: float, input_size: int, batch_size: int, replicates: int, turns: int) -> dict[str, list[float]]:
    config = presets.get("fashion_mnist")
    config.model.alpha, config.input_size, config.train.batch_size = alpha, input_size, batch_size
    config = resolve(config)
    model = registry.build(config.model, platform=jax.default_backend())
    optimizer, _ = optim.build(config.optim, in_steps(config, 55_000))
    images = np.random.default_rng(0).integers(0, 256, (batch_size, 28, 28, 1), np.uint8)
    batch = {"image": jnp.asarray(images), "label": jnp.zeros((batch_size,), jnp.int32)}
    create = jax.jit(lambda: step.create_state(model, optimizer, config, config.seed))
    train_step = step.make_train_step(model, optimizer, config)
    states = [create() for _ in range(replicates)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    one, all_in_one = jax.jit(train_step), jax.jit(jax.vmap(train_step, in_axes=(0, None)))
    contenders = {
        "separate": lambda: [one(state, batch) for state in states],
        "vmapped": lambda: all_in_one(stacked, batch),
    }
    milliseconds = {name: [] for name in contenders}
    for turn in range(-1, turns):  # the first is not measured
        for name, run in contenders.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            if turn >= 0:
                milliseconds[name].append(1e3 * (time.perf_counter() - start))
    return milliseconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--replicates", type=int, default=3)
    parser.add_argument("--turns", type=int, default=9)
    measurements.add_argument(parser)
    options = parser.parse_args()
    report = {"jax": jax.__version__, "device": jax.devices()[0].device_kind, "cells": []}
    for alpha, input_size, batch_size in _CELLS:
        found = measure(alpha, input_size, batch_size, options.replicates, options.turns)
        cell = {"alpha": alpha, "input_size": input_size, "batch_size": batch_size, "milliseconds": found}
        report["cells"].append(cell)
        measurements.save(report, options.json)
        separate, vmapped = (statistics.median(found[name]) for name in ("separate", "vmapped"))
        print(f"{alpha:g} at {input_size}, batch {batch_size}: {separate:.1f} ms, vmapped {vmapped:.1f} ms, ", end="")
        print(f"{separate / vmapped:.2f}x as fast")
    return 0


if __name__ == "__main__":
    sys.exit(main())
