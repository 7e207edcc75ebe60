"""What trials run on the devices, compiled: one set of steps for all trials that differ in nothing but their seed
and in `identity.HYPERPARAMETERS`.

Python traces one step after another; XLA compiles them in threads meanwhile.
"""

import concurrent.futures
import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mnet_jax.config.durations import in_steps
from mnet_jax.devices.mesh import replicated_on, sharded_on
from mnet_jax.models import registry
from mnet_jax.train import bn_devices, hyperparameters, optim, precise_bn, step
from mnet_jax.train.tasks.registry import task_of


@contextlib.contextmanager
def compilers() -> Iterator[concurrent.futures.Executor]:
    """Threads that compile; what they have not begun when an exception ends the block is not compiled any more."""
    threads = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    try:
        yield threads
    except BaseException:
        threads.shutdown(cancel_futures=True)
        raise
    threads.shutdown()


class CompiledSteps:
    """The steps of the trials of one `identity.compile_key`, as futures.

    Attributes:
      model: the network.
      task: of the config.
      steps: the durations.
      replicated, sharded: where variables and batches are.
      of_state: where each array of a state is.
      num_devices: of the mesh.
      abstract_state, abstract_batch: the shapes of a `step.TrainState` and of a training batch.
      create: `(seed) -> state`.
      eval_step: `(variables, batch) -> sums`, see `step.make_eval_step`.
      precise_batches: training batches over which an evaluation estimates batch statistics anew.
      precise_step: `(variables, rng, step, batch) -> batch_stats`, see `precise_bn.make_precise_step`; only where there
        are such batches.
    """

    def __init__(self, config: ConfigDict, num_train: int, mesh: Mesh, threads: concurrent.futures.Executor):
        """Begins to compile all but `train_step`.

        Args:
          config: resolved, of any of the trials.
          num_train: images in an epoch.
          mesh: the devices.
          threads: that compile.

        Raises:
          UserError: the batch cannot be split among the devices, or a device's into groups, or the network cannot be
            trained or evaluated.
        """
        batch_size = config.train.batch_size
        together = bn_devices.images_together(config, mesh.size)
        self._config, self._threads, self.num_devices = config, threads, mesh.size
        self._local_on = mesh if bn_devices.is_local(config) and mesh.size > 1 else None
        self.model = registry.build(config.model, platform=mesh.devices.flat[0].platform)
        self.task = task_of(config)
        self.steps = in_steps(config, num_train)
        self.replicated, self.sharded = replicated_on(mesh), sharded_on(mesh)

        optimizer, _ = optim.build(config.optim, self.steps)

        def create(seed):
            state = step.create_state(self.model, optimizer, config, seed)
            return bn_devices.spread(state, mesh.size) if self._local_on else state

        seed = jax.ShapeDtypeStruct((), np.int32)
        self.abstract_state = jax.eval_shape(create, seed)
        self.of_state = bn_devices.shardings(self.abstract_state, mesh, local=self._local_on is not None)
        side, channels = config.data.image_size, config.data.channels
        self.abstract_batch = {
            "image": jax.ShapeDtypeStruct((batch_size, side, side, channels), np.uint8),
            "label": self.task.abstract_label(batch_size),
        }
        self.create = self.compile(create, (self.replicated,), seed, out_shardings=self.of_state)
        variables = self.abstract_state.evaluated()
        if self._local_on:
            of_variables = bn_devices.shardings(variables, mesh, local=True)
            self._average = self.compile(bn_devices.averaged, (of_variables,), variables)
            variables = jax.eval_shape(bn_devices.averaged, variables)
        self.eval_step = self.compile(
            step.make_eval_step(self.model, config),
            (self.replicated, self.sharded),
            variables,
            self.abstract_batch | {"mask": jax.ShapeDtypeStruct((batch_size,), np.float32)},
        )
        self.precise_batches = precise_bn.num_batches(config, num_train)
        if self.precise_batches:
            state = self.abstract_state
            self.precise_step = self.compile(
                precise_bn.make_precise_step(self.model, config, together),
                (self.replicated, self.replicated, self.replicated, self.sharded),
                *(variables, state.rng, state.step, self.abstract_batch),
            )

    def evaluated(self, state: step.TrainState) -> Any:
        """{"params", "batch_stats"} that are evaluated; the mean of the devices' statistics where each has its own."""
        variables = state.evaluated()
        return self._average.result()(variables) if self._local_on else variables

    def as_kept(self, variables: Any) -> Any:
        """{"params", "batch_stats"} as a state keeps them on the devices; each gets a copy where each has its own."""
        variables = jax.device_put(variables, self.replicated)
        if not self._local_on:
            return variables
        shardings = bn_devices.shardings(variables, self._local_on, local=True)
        return jax.jit(bn_devices.spread, static_argnums=1, out_shardings=shardings)(variables, self.num_devices)

    @functools.cached_property
    def train_step(self) -> concurrent.futures.Future:
        """`update`, compiled from the first look on; the state is given away."""
        return self.compile(
            self.update,
            (self.of_state, self.replicated, self.sharded),
            self.abstract_state,
            hyperparameters.values_of(self._config),
            self.abstract_batch,
            out_shardings=(self.of_state, self.replicated),
            donate_argnums=0,
        )

    def update(self, state: step.TrainState, values: hyperparameters.Values, batch: Any) -> tuple:
        """`(state, hyperparameters, batch) -> (state, metrics)`, to be traced; see `step.make_train_step`."""
        config = hyperparameters.with_values(self._config, values)
        optimizer, _ = optim.build(config.optim, self.steps)
        return step.make_train_step(self.model, optimizer, config, self._local_on)(state, batch)

    def compile(
        self, function: Callable, in_shardings: tuple, *arguments: Any, out_shardings: Any = None, **options: Any
    ) -> concurrent.futures.Future:
        """Traces a function and begins to compile it.

        Args:
          function: of arrays on the devices.
          in_shardings: of each argument.
          arguments: arrays or their shapes.
          out_shardings: of what it returns; by default it is replicated.
          options: of `jax.jit`.
        """
        out_shardings = self.replicated if out_shardings is None else out_shardings
        jitted = jax.jit(function, in_shardings=in_shardings, out_shardings=out_shardings, **options)
        return self._threads.submit(jitted.lower(*arguments).compile)
