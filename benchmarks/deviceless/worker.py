"""The process that compiles one step, and prints what it found as JSON:

python -m benchmarks.deviceless.worker CELL_AS_JSON LAYERS
"""

import ast
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh
from ml_collections import ConfigDict

from benchmarks.contenders.with_jax import task_config
from benchmarks.deviceless import hlo
from benchmarks.deviceless.targets import TARGETS, devices_of
from benchmarks.task import Task
from mnet_jax.train.compiled import CompiledSteps

_LARGE = 10**6  # bytes of a kernel that counts


@dataclasses.dataclass(frozen=True)
class Cell:
    """What is compiled.

    Attributes:
      model, alpha, input_size, dtype: see `benchmarks.task.Task`.
      batch_size: images per device.
      devices, target: how many of which.
      step: "train" or "eval".
      overrides: of other fields of the config, by dotted key; Python's literals, or words as they are.
    """

    model: str
    alpha: float
    input_size: int
    dtype: str
    batch_size: int
    devices: int
    target: str
    step: str
    overrides: Mapping[str, str]

    def config(self, layers: str) -> ConfigDict:
        """Resolved, with "fast" or "textbook" layers.

        Raises:
          UserError: a field is not known, or a value is out of its range.
        """
        task = Task(self.model, self.alpha, self.input_size, self.batch_size * self.devices, self.dtype)
        return task_config(task, layers, {key: _value(text) for key, text in self.overrides.items()})


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


class Later:
    """In the place of threads that compile: the future of a step is the function that compiles it."""

    def submit(self, compile_it: Callable) -> Callable:
        return compile_it


def steps_of(config: ConfigDict, devices: list) -> CompiledSteps:
    """The steps that mnet_jax runs, traced but not compiled: each is a function of `compiler_options`."""
    mesh = Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))
    return CompiledSteps(config, 100 * config.train.batch_size, mesh, Later())


def found_in(compiled: jax.stages.Compiled) -> dict[str, Any]:
    """What the program for one device moves, holds and sends."""
    program, memory = hlo.Program(compiled.as_text()), compiled.memory_analysis()
    kernels = program.kernels()
    return {
        "bytes": sum(kernel.bytes * kernel.times for kernel in kernels),
        "temporary_bytes": memory.temp_size_in_bytes,
        "allocated_bytes": memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes,
        "peak_bytes": getattr(memory, "peak_memory_in_bytes", 0) or None,
        "kernels": sum(kernel.times for kernel in kernels),
        "large_kernels": sum(kernel.times for kernel in kernels if kernel.bytes > _LARGE),
        "estimated_cycles": sum(kernel.cycles * kernel.times for kernel in kernels) or None,
        "collectives": hlo.by_kind(program.collectives()),
    }


def compile_one(cell: Cell, layers: str) -> dict[str, Any]:
    """What was found, the seconds that XLA took, by the clock and of CPU time, and what it was compiled for."""
    devices = devices_of(cell.target, cell.devices)
    steps = steps_of(cell.config(layers), devices)
    compile_it = steps.train_step if cell.step == "train" else steps.eval_step
    start, cpu_start = time.perf_counter(), _cpu_seconds()
    compiled = compile_it(compiler_options=dict(TARGETS[cell.target].compiler_options))
    seconds = {"compile_seconds": time.perf_counter() - start, "compile_cpu_seconds": _cpu_seconds() - cpu_start}
    return found_in(compiled) | seconds | {"device": devices[0].device_kind}


def _cpu_seconds() -> float:
    """Of all threads of this process, and of the assemblers that it has started."""
    return sum(os.times()[:4])


def main(cell: str, layers: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        answer = compile_one(Cell(**json.loads(cell)), layers)
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
