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
from mnet_jax.devices.mesh import check_batch, replicated_on, sharded_on
from mnet_jax.models import registry
from mnet_jax.train import hyperparameters, optim, precise_bn, step


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
      steps: the durations.
      replicated, sharded: where states and batches are.
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
          UserError: the batch cannot be split among the devices, or the network cannot be trained or evaluated.
        """
        batch_size = config.train.batch_size
        check_batch(batch_size, mesh.size)
        self._config, self._threads = config, threads
        self.model = registry.build(config.model, platform=mesh.devices.flat[0].platform)
        self.steps = in_steps(config, num_train)
        self.replicated, self.sharded = replicated_on(mesh), sharded_on(mesh)

        optimizer, _ = optim.build(config.optim, self.steps)

        def create(seed):
            return step.create_state(self.model, optimizer, config, seed)

        seed = jax.ShapeDtypeStruct((), np.int32)
        self.abstract_state = jax.eval_shape(create, seed)
        side, channels = config.data.image_size, config.data.channels
        self.abstract_batch = {
            "image": jax.ShapeDtypeStruct((batch_size, side, side, channels), np.uint8),
            "label": jax.ShapeDtypeStruct((batch_size,), np.int32),
        }
        self.create = self.compile(create, (self.replicated,), seed)
        self.eval_step = self.compile(
            step.make_eval_step(self.model, config),
            (self.replicated, self.sharded),
            self.abstract_state.evaluated(),
            self.abstract_batch | {"mask": jax.ShapeDtypeStruct((batch_size,), np.float32)},
        )
        self.precise_batches = precise_bn.num_batches(config, num_train)
        if self.precise_batches:
            state = self.abstract_state
            self.precise_step = self.compile(
                precise_bn.make_precise_step(self.model, config),
                (self.replicated, self.replicated, self.replicated, self.sharded),
                *(state.evaluated(), state.rng, state.step, self.abstract_batch),
            )

    @functools.cached_property
    def train_step(self) -> concurrent.futures.Future:
        """`update`, compiled from the first look on; the state is given away."""
        return self.compile(
            self.update,
            (self.replicated, self.replicated, self.sharded),
            self.abstract_state,
            hyperparameters.values_of(self._config),
            self.abstract_batch,
            donate_argnums=0,
        )

    def update(self, state: step.TrainState, values: hyperparameters.Values, batch: Any) -> tuple:
        """`(state, hyperparameters, batch) -> (state, metrics)`, to be traced; see `step.make_train_step`."""
        config = hyperparameters.with_values(self._config, values)
        optimizer, _ = optim.build(config.optim, self.steps)
        return step.make_train_step(self.model, optimizer, config)(state, batch)

    def compile(
        self, function: Callable, in_shardings: tuple, *arguments: Any, **options: Any
    ) -> concurrent.futures.Future:
        """Traces a function and begins to compile it.

        Args:
          function: returns what is replicated on the devices.
          in_shardings: of each argument.
          arguments: arrays or their shapes.
          options: of `jax.jit`.
        """
        jitted = jax.jit(function, in_shardings=in_shardings, out_shardings=self.replicated, **options)
        return self._threads.submit(jitted.lower(*arguments).compile)
