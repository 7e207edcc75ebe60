"""Checks and resolves a config, turns its durations into steps, and names the trial that it describes."""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from mnet_jax.config.dotted import flatten, set_field
from mnet_jax.data import decode, sources
from mnet_jax.errors import UserError, nearest
from mnet_jax.models import registry
from mnet_jax.models.layers import ACTIVATIONS, LAYERS, PADDINGS
from mnet_jax.pretrained import recipes
from mnet_jax.train.optim import OPTIMIZERS, SCHEDULES

_IMAGES = {  # how images are prepared where no imported weights ask for something else
    "data.mean": (0.5,),
    "data.std": (0.5,),
    "data.eval_crop": "central",
    "data.eval_crop_fraction": 0.875,
    "data.eval_filter": "bilinear",
}

_Rule = tuple[Callable[[Any], bool], str]

_POSITIVE: _Rule = (lambda v: 0 < v < math.inf, "must be positive and finite")
_NOT_NEGATIVE: _Rule = (lambda v: 0 <= v < math.inf, "must be 0 or more")
_FRACTION: _Rule = (lambda v: 0 <= v < 1, "must be in [0, 1)")
_SHARE: _Rule = (lambda v: 0 < v <= 1, "must be in (0, 1]")
_SEED: _Rule = (lambda v: 0 <= v < 2**31, "must be in [0, 2**31)")
_POWER_OF_2: _Rule = (lambda v: v in (1, 2, 4, 8, 16, 32), "must be one of 1, 2, 4, 8, 16, 32")

_RULES: dict[str, _Rule] = {
    "seed": _SEED,
    "data.seed": _SEED,
    "input_size": _POSITIVE,
    "model.alpha": _POSITIVE,
    "model.num_classes": _POSITIVE,
    "model.total_stride": _POWER_OF_2,
    "model.last_features": _NOT_NEGATIVE,
    "model.expansion": _POSITIVE,
    "model.depth_multiplier": _POSITIVE,
    "model.dropout": _FRACTION,
    "model.bn_momentum": _FRACTION,
    "model.bn_epsilon": _POSITIVE,
    "data.channels": (lambda v: v in (1, 3), "must be 1 or 3"),
    "data.crop_padding": _NOT_NEGATIVE,
    "data.eval_crop_fraction": _SHARE,
    "data.read_threads": _POSITIVE,
    "data.max_bad_images": _NOT_NEGATIVE,
    "data.cache_side": _POSITIVE,
    "data.cache_quality": (lambda v: 1 <= v <= 100, "must be in [1, 100]"),
    "optim.learning_rate": _POSITIVE,
    "optim.warmup_epochs": _NOT_NEGATIVE,
    "optim.decay_rate": _POSITIVE,
    "optim.decay_every_epochs": _POSITIVE,
    "optim.momentum": _FRACTION,
    "optim.rmsprop_decay": _FRACTION,
    "optim.rmsprop_epsilon": _POSITIVE,
    "optim.weight_decay": _NOT_NEGATIVE,
    "optim.grad_clip_norm": _NOT_NEGATIVE,
    "train.batch_size": _POSITIVE,
    "train.epochs": _NOT_NEGATIVE,
    "train.label_smoothing": _FRACTION,
    "train.ema_decay": _FRACTION,
    "train.log_every_steps": _POSITIVE,
    "train.eval_every_epochs": _POSITIVE,
    "train.checkpoint_every_epochs": _POSITIVE,
    "launch.trials_per_stream": _POSITIVE,
    "launch.devices_per_group": _POSITIVE,
    "launch.num_processes": _POSITIVE,
    "launch.process_id": _NOT_NEGATIVE,
}

_CHOICES: dict[str, tuple[str, ...]] = {
    "model.name": tuple(registry.MODELS),
    "model.padding": PADDINGS,
    "model.activation": tuple(ACTIVATIONS),
    "model.layers": LAYERS,
    "model.dtype": ("float32", "bfloat16"),
    "data.name": tuple(sources.SOURCES),
    "data.crop": ("none", "shift", "inception"),
    "data.eval_crop": tuple(decode.EVAL_CROPS),
    "data.eval_filter": tuple(decode.FILTERS),
    "optim.name": tuple(OPTIMIZERS),
    "optim.schedule": tuple(SCHEDULES),
    "launch.launcher": ("local",),
}


def resolve(config: ConfigDict, overrides: Mapping[str, Any] | None = None) -> ConfigDict:
    """A locked copy with the overrides (dotted keys) applied, fields at None filled in, every value checked.

    What is None takes what the weights in `config.train.init_from` need, else the default of the model.

    Raises:
      UserError: an override names no field or has the wrong type, a value is out of its range, the model does not have
        an option, or the weights cannot be read.
    """
    config = copy.deepcopy(config).unlock()
    for key, value in (overrides or {}).items():
        set_field(config, key, value)
    config = config.copy_and_resolve_references()
    _check_choices(config)
    _fill_in(config)
    _check_choices(config)
    _check_ranges(config)
    return config.lock()


def _fill_in(config: ConfigDict) -> None:
    """Gives the fields at None their values.

    Raises:
      UserError: a field is set that the model does not have, or the weights cannot be read.
    """
    name, path = config.model.name, config.train.init_from
    own = registry.defaults(name)
    for field, value in config.model.items():
        if value is not None and field not in (*own, "name", "num_classes"):
            raise UserError(f"config.model.{field}={value!r}: {name} has no such option (it has {', '.join(own)})")
    values = _IMAGES | {f"model.{field}": value for field, value in own.items()}
    if path is not None:
        values |= recipes.recipe(path, name)
    for key, value in values.items():
        node, field = key.split(".")
        if config[node][field] is None and value is not None:
            config[node][field] = value


def _check_choices(config: ConfigDict) -> None:
    flat = flatten(config)
    for key, known in _CHOICES.items():
        if flat[key] is not None and flat[key] not in known:
            raise UserError(f"config.{key}={flat[key]!r}{nearest(flat[key], known)} (known: {', '.join(known)})")


def _check_ranges(config: ConfigDict) -> None:
    flat = flatten(config)
    for key, (is_valid, text) in _RULES.items():
        if flat[key] is not None and not is_valid(flat[key]):
            raise UserError(f"config.{key}={flat[key]!r}: {text}")
    channels = flat["data.channels"]
    for key in ("data.mean", "data.std"):
        if len(flat[key]) not in (1, channels):
            hint = "; --config.data.channels=3 reads gray images as RGB" if channels == 1 else ""
            raise UserError(f"config.{key}={flat[key]!r}: must have 1 or config.data.channels={channels} values{hint}")
    if config.train.epochs == 0 and config.train.init_from is None:
        raise UserError("config.train.epochs=0.0: must be positive where config.train.init_from names no weights")
