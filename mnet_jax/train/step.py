"""The training state, and the pure functions that update and evaluate it."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mnet_jax.errors import UserError
from mnet_jax.train.bn_devices import on_each_device
from mnet_jax.train.frozen_bn import frozen
from mnet_jax.train.tasks.registry import task_of

Metrics = dict[str, jax.Array]


@flax.struct.dataclass
class TrainState:
    """Everything a step reads and writes, as one pytree.

    Attributes:
      step: updates done so far, int32.
      params, batch_stats: of the network; `batch_stats` is empty where it has none, and has those of each device where
        these are local (`bn_devices`).
      opt_state: of the optimizer.
      ema: moving averages {"params", "batch_stats"}, or None where `config.train.ema_decay` is 0.
      rng: raw random key; a step draws from `fold_in(rng, step)`, so it never changes.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any
    rng: jax.Array

    def evaluated(self) -> dict[str, Any]:
        """The variables that are evaluated: the moving averages where there are any."""
        return self.ema or {"params": self.params, "batch_stats": self.batch_stats}

    def with_evaluated(self, variables: Mapping[str, Any]) -> "TrainState":
        """The state whose `evaluated` variables are these."""
        return self.replace(ema=variables) if self.ema else self.replace(**variables)


def create_state(
    model: nn.Module, optimizer: optax.GradientTransformation, config: ConfigDict, seed: int | jax.Array
) -> TrainState:
    """The state before the first step; a pure function of the seed, which may be traced.

    Args:
      model: maps images (batch, height, width, channels) and `train` to what the task takes, such as logits (batch,
        classes). Batch statistics and dropout are used where it has them.
      optimizer: as `optim.build` makes it.
      config: resolved; `input_size`, `data.channels`, `train.ema_decay`.
      seed: of the initial weights, and of what steps draw.

    Raises:
      UserError: the network has variables that are neither parameters nor batch statistics.
    """
    rng = jax.random.PRNGKey(seed)
    images = jnp.zeros((1, config.input_size, config.input_size, config.data.channels))
    variables = model.init(rng, images, train=False)
    if others := sorted(variables.keys() - {"params", "batch_stats"}):
        raise UserError(
            f"network {type(model).__name__} keeps variables in {', '.join(others)}; "
            "training knows the collections params and batch_stats"
        )
    averaged = {"params": variables.get("params", {}), "batch_stats": variables.get("batch_stats", {})}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        **averaged,
        opt_state=optimizer.init(averaged["params"]),
        ema=jax.tree.map(jnp.copy, averaged) if config.train.ema_decay else None,
        rng=rng,
    )


def keys_of_step(rng: jax.Array, step: jax.Array) -> jax.Array:
    """Three random keys of a step: of augmentation, of what the network drops, of mixing."""
    return jax.random.split(jax.random.fold_in(rng, step), 3)


def make_train_step(
    model: nn.Module, optimizer: optax.GradientTransformation, config: ConfigDict, local_on: Mesh | None = None
) -> Callable[[TrainState, Mapping[str, jax.Array]], tuple[TrainState, Metrics]]:
    """`train_step(state, batch) -> (state, metrics)`.

    A batch is that of `tasks.contract`; metrics are scalars of the batch: {"loss", "grad_norm"}, the loss that of mixed
    and smoothed labels. Tracing it raises UserError where the network does not return what the task takes.

    Args:
      model: as in `create_state`.
      optimizer: as `optim.build` makes it.
      config: resolved; where replicates differ, a traced scalar may stand for a number.
      local_on: devices of which each normalises its own images; see `bn_devices.on_each_device`.
    """
    task = task_of(config)

    def loss_of(params, batch_stats, images, targets, dropout_key):
        with frozen(config):
            found, updated = model.apply(
                {"params": params, "batch_stats": batch_stats},
                images,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": dropout_key},
            )
        outputs = task.outputs(found, images, type(model).__name__)
        return task.loss(outputs, targets), updated.get("batch_stats", {})

    def gradient(params, batch_stats, images, targets, keys):
        dropout_key, mixing_key = keys
        images, targets = task.mix(images, targets, mixing_key)
        return jax.value_and_grad(loss_of, has_aux=True)(params, batch_stats, images, targets, dropout_key)

    if local_on is not None:
        gradient = on_each_device(gradient, local_on)

    def train_step(state, batch):
        augment_key, *keys = keys_of_step(state.rng, state.step)
        images, targets = task.augment(batch, augment_key)
        (loss, batch_stats), grads = gradient(state.params, state.batch_stats, images, targets, keys)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        state = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        return _with_ema(state, config.train.ema_decay), {"loss": loss, "grad_norm": optax.tree.norm(grads)}

    return train_step


def make_eval_step(model: nn.Module, config: ConfigDict) -> Callable[[dict, Mapping[str, jax.Array]], Metrics]:
    """`eval_step(variables, batch) -> sums` over the images whose "mask" is 1; see `tasks.contract`.

    A batch is that of a training step with "mask", float32 (batch,). Tracing it raises UserError where the network does
    not return what the task takes.

    Args:
      model: as in `create_state`.
      config: resolved.
    """
    task = task_of(config)

    def eval_step(variables, batch):
        def apply(images):
            return model.apply(variables, images, train=False)

        return task.sums(task.predict(apply, batch, type(model).__name__), batch)

    return eval_step


def _with_ema(state: TrainState, decay: float) -> TrainState:
    """Moves the averages towards the new values; slower from step to step at first, as TensorFlow's EMA does."""
    if not decay:
        return state
    decay = jnp.minimum(decay, (1.0 + state.step) / (10.0 + state.step))
    new = {"params": state.params, "batch_stats": state.batch_stats}
    return state.replace(ema=jax.tree.map(lambda ema, value: decay * ema + (1.0 - decay) * value, state.ema, new))
