"""Optimizers and learning rate schedules, from `config.optim`."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from mnet_jax.config.durations import Steps
from mnet_jax.errors import UserError
from mnet_jax.models import registry
from mnet_jax.models.deeplab import HEAD as DEEPLAB_HEAD
from mnet_jax.models.layers import DEPTHWISE

HEAD = ("classifier", *DEEPLAB_HEAD)  # names of layers


def build(optim: ConfigDict, steps: Steps) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimizer and its schedule.

    Args:
      optim: `config.optim`; where replicates differ, a traced scalar may stand for a number.
      steps: of the warm-up, of the decay, and in all.

    Returns:
      The gradient transformation, and the learning rate as a function of the step.

    Raises:
      KeyError: no optimizer or schedule has that name.
    """
    schedule = _with_warmup(SCHEDULES[optim.schedule](optim, steps), optim, steps)
    clip = optax.clip_by_global_norm(optim.grad_clip_norm) if optim.grad_clip_norm else optax.identity()
    multiplier = getattr(optim, "head_multiplier", 1.0)  # which configs of before it have not
    of_head = () if multiplier == 1.0 else (optax.masked(optax.scale(multiplier), head_mask),)
    return optax.chain(clip, OPTIMIZERS[optim.name](optim, schedule), *of_head), schedule


def weight_decay_mask(params: Any) -> Any:
    """True at the leaves of a tree of parameters that weight decay shrinks.

    Those are the leaves called `kernel`, but no depthwise ones (V1 paper, section 3.2).
    """

    def is_decayed(path, _):
        names = [entry.key for entry in path]
        return names[-1] == "kernel" and DEPTHWISE not in names

    return jax.tree_util.tree_map_with_path(is_decayed, params)


def head_mask(params: Any) -> Any:
    """True at the leaves of a tree of parameters whose rate is `config.optim.head_multiplier` times that of the others.

    Those are the leaves of the layers in `HEAD`: of DeepLab all that a classification network has not, where
    `research/deeplab` multiplies the gradients of its last layer (`last_layer_gradient_multiplier`).
    """
    return jax.tree_util.tree_map_with_path(lambda path, _: path[0].key in HEAD, params)


def check_head(config: ConfigDict) -> None:
    """Raises UserError where a resolved config asks for a rate of the head, and the network has no layer called so."""
    params = registry.abstract_variables(config).get("params", {})
    if not any(jax.tree.leaves(head_mask(params))):
        raise UserError(
            f"config.optim.head_multiplier={config.optim.head_multiplier}: must be 1.0, no layer of network "
            f"{config.model.name} ({', '.join(params) or 'it has none'}) is a head (known: {', '.join(HEAD)})"
        )


def _coupled_l2(optim: ConfigDict) -> optax.GradientTransformation:
    return optax.add_decayed_weights(optim.weight_decay, weight_decay_mask)


def _sgd(optim: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    return optax.chain(_coupled_l2(optim), optax.sgd(schedule, optim.momentum or None))


def _rmsprop(optim: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """TensorFlow 1's: the mean square starts at 1, epsilon is inside the root, the momentum holds the rate."""
    rmsprop = optax.rmsprop(
        schedule,
        decay=optim.rmsprop_decay,
        eps=optim.rmsprop_epsilon,
        initial_scale=1.0,
        eps_in_sqrt=True,
        momentum=optim.momentum or None,
    )
    return optax.chain(_coupled_l2(optim), rmsprop)


def _adamw(optim: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    return optax.adamw(schedule, weight_decay=optim.weight_decay, mask=weight_decay_mask)


def _cosine(optim: ConfigDict, steps: Steps) -> optax.Schedule:
    return optax.cosine_decay_schedule(optim.learning_rate, max(1, steps.total - steps.warmup))


def _exponential(optim: ConfigDict, steps: Steps) -> optax.Schedule:
    return optax.exponential_decay(optim.learning_rate, steps.decay_every, optim.decay_rate, staircase=True)


def _polynomial(optim: ConfigDict, steps: Steps) -> optax.Schedule:
    """To 0 at the end, by a power of what is left (DeepLab, Chen et al., 2017, arXiv:1706.05587, section 4.1)."""
    return optax.polynomial_schedule(optim.learning_rate, 0.0, optim.power, max(1, steps.total - steps.warmup))


def _constant(optim: ConfigDict, steps: Steps) -> optax.Schedule:
    return optax.constant_schedule(optim.learning_rate)


def _with_warmup(schedule: optax.Schedule, optim: ConfigDict, steps: Steps) -> optax.Schedule:
    """A linear rise over the first `steps.warmup` steps; `schedule` counts from where it ends."""
    if not steps.warmup:
        return schedule
    rise = optax.linear_schedule(0.0, optim.learning_rate, steps.warmup)
    return optax.join_schedules([rise, schedule], [steps.warmup])


OPTIMIZERS: dict[str, Callable] = {"sgd": _sgd, "rmsprop": _rmsprop, "adamw": _adamw}
SCHEDULES: dict[str, Callable] = {
    "cosine": _cosine,
    "exponential": _exponential,
    "polynomial": _polynomial,
    "constant": _constant,
}
