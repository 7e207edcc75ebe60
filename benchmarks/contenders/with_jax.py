"""mnet_jax's own step, with its fast or its textbook layers, and the kernels that its processes ask XLA for."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from benchmarks.contenders.worker import Built, alone
from benchmarks.task import Task
from mnet_jax import presets
from mnet_jax.config.durations import in_steps
from mnet_jax.config.resolve import resolve
from mnet_jax.devices import process
from mnet_jax.devices.mesh import device_name
from mnet_jax.models import registry
from mnet_jax.train import optim, step


def build(task: Task, layers: str, memory: str = "bytes") -> Built:
    process.set_xla_flags()
    config = task_config(task, layers, {"model.memory": memory})
    model = registry.build(config.model, platform=jax.default_backend())
    optimizer, _ = optim.build(config.optim, in_steps(config, num_train=100 * task.batch_size))
    state = jax.jit(lambda: step.create_state(model, optimizer, config, config.seed))()
    rng = np.random.default_rng(0)
    shape = (task.batch_size, task.input_size, task.input_size, 3)
    batch = {
        "image": rng.integers(0, 256, shape, np.uint8),
        "label": rng.integers(0, 1000, task.batch_size, np.int32),
        "mask": np.ones(task.batch_size, np.float32),
    }
    batch = jax.device_put(batch)
    if task.inference:
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        lowered = jax.jit(step.make_eval_step(model, config)).lower(variables, batch)
        with alone():
            compiled = lowered.compile()

        def run(steps):
            for _ in range(steps):
                sums = compiled(variables, batch)
            jax.block_until_ready(sums)
    else:
        del batch["mask"]
        train_step = jax.jit(step.make_train_step(model, optimizer, config), donate_argnums=0)
        lowered = train_step.lower(state, batch)
        with alone():
            compiled = lowered.compile()
        states = [state]

        def run(steps):
            for _ in range(steps):
                states[0], metrics = compiled(states[0], batch)
            jax.block_until_ready(metrics)

    return Built(run, _peak_bytes, compiled.memory_analysis().temp_size_in_bytes, versions())


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("jax", "jaxlib", "flax")} | {"device": device_name()}


def task_config(task: Task, layers: str, overrides: Mapping[str, Any] | None = None):
    """The ImageNet preset with SGD and momentum, which every framework has, at the task's size.

    Raises:
      UserError: a field of the overrides, by dotted key, is not known, or a value is out of its range.
    """
    return resolve(
        presets.get("imagenet"),
        {
            "input_size": task.input_size,
            "model.name": task.model,
            "model.alpha": task.alpha,
            "model.dtype": task.dtype,
            "model.layers": layers,
            "data.image_size": task.input_size,
            "optim.name": "sgd",
            "train.batch_size": task.batch_size,
            "train.ema_decay": 0.0,
            **(overrides or {}),
        },
    )


def _peak_bytes() -> int | None:
    statistics = jax.local_devices()[0].memory_stats()
    return statistics and statistics["peak_bytes_in_use"]
